{{- define "otel-tts.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "otel-tts.labels" -}}
app.kubernetes.io/name: otel-tts
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "otel-tts.selector" -}}
app.kubernetes.io/name: otel-tts
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "otel-tts.image" -}}{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}{{- end }}

{{- define "otel-tts.podSecurity" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "otel-tts.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "otel-tts.secret" -}}
{{- with .Values.engines.secret }}
envFrom: [{secretRef: {name: {{ . | quote }}}}]
{{- end }}
{{- end }}

{{- /* Where services send telemetry: the gateways, or the Collectors where there are none. */ -}}
{{- define "otel-tts.ingest" -}}{{ include "otel-tts.name" . }}-{{ if .Values.gateway.enabled }}gateway{{ else }}collector{{ end }}{{- end }}

{{- define "otel-tts.readers" -}}
- {name: OTEL_TTS_PROMETHEUS_URL, value: {{ .Values.engines.metrics.queryUrl | quote }}}
{{- with .Values.engines.metrics.storesAway }}
- {name: OTEL_TTS_PROMETHEUS_STORES_AWAY, value: {{ . | quote }}}
{{- end }}
{{- with .Values.engines.traces.jaegerUrl }}
- {name: OTEL_TTS_JAEGER_URL, value: {{ . | quote }}}
{{- end }}
{{- with .Values.engines.traces.tempoUrl }}
- {name: OTEL_TTS_TEMPO_URL, value: {{ . | quote }}}
{{- end }}
{{- with .Values.engines.mlflow.url }}
- {name: MLFLOW_TRACKING_URI, value: {{ . | quote }}}
{{- end }}
{{- with .Values.engines.grafana.url }}
- {name: OTEL_TTS_GRAFANA_URL, value: {{ . | quote }}}
{{- end }}
{{- end }}

{{- /* Spreads replicas over nodes, where there are several. */ -}}
{{- define "otel-tts.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: {matchLabels: {{ include "otel-tts.selector" . | fromYaml | toJson }}}
{{- end }}
