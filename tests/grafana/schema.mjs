// Writes schema.json: a JSON Schema of all that @grafana/schema has types for in a dashboard, and the ids of Grafana's units.
//   properties.dashboard                                  a dashboard with its panels
//   properties.panels.properties.<kind>.properties        of a kind of panel: options, and fields, which is fieldConfig.defaults.custom
//   units                                                 what fieldConfig.defaults.unit may be

import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createGenerator } from 'ts-json-schema-generator';

const RAW = './node_modules/@grafana/schema/dist/types/raw';
const TYPES = { options: 'Options', fields: 'FieldConfig' };

const imports = [`import type { Dashboard } from '${RAW}/dashboard/x/types.gen';`];
const panels = [];
for (const kind of readdirSync(`${RAW}/composable`)) {
  const path = `${RAW}/composable/${kind}/panelcfg/x/types.gen`;
  if (!existsSync(`${path}.d.ts`)) continue; // the queries of a data source
  const declared = readFileSync(`${path}.d.ts`, 'utf8');
  const has = Object.entries(TYPES).filter(([, type]) => new RegExp(`^export (interface|type) ${type}\\b`, 'm').test(declared));
  imports.push(`import type * as ${kind} from '${path}';`);
  panels.push(`${kind}: { ${has.map(([name, type]) => `${name}: ${kind}.${type}`).join('; ')} }`);
}
writeFileSync('types.ts', `${imports.join('\n')}\nexport interface Grafana { dashboard: Dashboard; panels: { ${panels.join('; ')} } }\n`);
writeFileSync('tsconfig.json', JSON.stringify({ compilerOptions: { strict: true, module: 'esnext', moduleResolution: 'bundler', types: [] } }));

// Exported types of several modules share a name, so none is given a definition of its own: everything stands where it is used.
const config = { path: 'types.ts', type: 'Grafana', tsconfig: 'tsconfig.json', skipTypeCheck: true, expose: 'none', topRef: false };
const schema = createGenerator(config).createSchema(config.type);

const units = [...readFileSync('categories.mjs', 'utf8').matchAll(/^\s+id: "([^"]+)"/gm)].map(([, id]) => id);
if (!units.includes('percentunit')) throw new Error('@grafana/data writes its units in another way than this program reads');
writeFileSync('schema.json', JSON.stringify({ ...schema, units }));
