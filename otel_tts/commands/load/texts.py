"""What callers say: sentences that many send, and ones that nobody sent before, in the languages that engines speak."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

POPULAR: Mapping[str, tuple[str, ...]] = {
    "en": (
        "Welcome back. What can I do for you today?",
        "Your call is important to us. Please stay on the line.",
        "The next train to the airport leaves from platform two.",
        "Turn left at the traffic lights, then keep right.",
        "I am sorry, I did not get that. Could you say it again?",
        "The door is open.",
        "Good morning! It is going to be a sunny day.",
        "Please enter your customer number, followed by the hash key.",
    ),
    "de": ("Willkommen zurück. Was kann ich für Sie tun?", "Bitte bleiben Sie in der Leitung.", "An der Ampel links abbiegen."),
    "fr": ("Bonjour, que puis-je faire pour vous ?", "Veuillez rester en ligne.", "Tournez à gauche au prochain feu."),
    "es": ("Hola, ¿en qué puedo ayudarle?", "Por favor, no cuelgue.", "Gire a la izquierda en el semáforo."),
    "it": ("Buongiorno, come posso aiutarla?", "Rimanga in linea, per favore.", "Al semaforo giri a sinistra."),
}
"""By primary language. The first ones are asked for most."""

_FRESH: Mapping[str, tuple[str, ...]] = {
    "en": (
        "Order {} will arrive between {} and {} o'clock.",
        "The balance of account {} is {} dollars and {} cents.",
        "You are number {} in the queue. It will take about {} minutes and {} seconds.",
    ),
    "de": ("Ihre Bestellung {} kommt zwischen {} und {} Uhr.",),
    "fr": ("Votre commande {} arrivera entre {} et {} heures.",),
    "es": ("Su pedido {} llegará entre las {} y las {}.",),
    "it": ("Il suo ordine {} arriverà tra le {} e le {}.",),
}
_STORY = "And then they walked on for {} miles, until the road ended at a house with {} windows. "
_SENTENCES = 25  # of a story: about two minutes of audio


def popular(language: str, random: Random) -> str:
    """A sentence that is asked for again and again.

    Args:
        language: of the text: `en` or `de`.
        random: the source of chance.
    """
    sentences = POPULAR[language]
    return random.choices(sentences, weights=[1 / rank for rank, _ in enumerate(sentences, 1)])[0]


def fresh(language: str, random: Random) -> str:
    """A sentence with numbers in it that make it new.

    Args:
        language: of the text: `en` or `de`.
        random: the source of chance.
    """
    return random.choice(_FRESH[language]).format(random.randrange(10**6), random.randrange(1, 60), random.randrange(1, 60))


def story(random: Random) -> str:
    """Text that takes so long to speak that there is time to lose patience; English.

    Args:
        random: the source of chance.
    """
    return "".join(_STORY.format(random.randrange(2, 1000), random.randrange(2, 1000)) for _ in range(_SENTENCES))
