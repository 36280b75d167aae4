import type { CustomResourceDefinition } from '../../src/api/crd.ts';
import type { OpenApiSchema } from '../../src/api/open-api.ts';
import { page, table } from './markdown.ts';

interface Version {
  readonly name: string;
  readonly storage: boolean;
  readonly schema: { readonly openAPIV3Schema: OpenApiSchema };
}

interface Field {
  readonly path: string;
  readonly schema: OpenApiSchema;
  readonly isRequired: boolean;
}

/** The reference of a kind: every field of every version, and what the API server itself refuses. */
export function schemaPage(crd: CustomResourceDefinition, introduction: string): string {
  const { names, group, versions } = crd.spec as {
    readonly group: string;
    readonly names: { readonly kind: string; readonly plural: string; readonly shortNames: readonly string[] };
    readonly versions: readonly Version[];
  };
  const title = `# ${names.kind}\n\n${introduction} Cluster-scoped; \`kubectl get ${names.shortNames[0]}\`, \`kubectl explain ${names.plural}.spec\`.`;
  return page(title, ...versions.map((version) => describeVersion(group, version)));
}

function describeVersion(group: string, { name, storage, schema: { openAPIV3Schema } }: Version): string {
  const fields = ['spec', 'status'].flatMap((path) => {
    const schema = openAPIV3Schema.properties?.[path];
    return schema === undefined ? [] : fieldsOf({ path, schema, isRequired: openAPIV3Schema.required?.includes(path) === true });
  });
  const rows = fields.map(({ path, schema, isRequired }) => [
    `\`${path}\``,
    typeOf(schema),
    isRequired ? 'yes' : '',
    schema.description ?? '',
  ]);
  const rules = rulesOf('', openAPIV3Schema).map(({ path, message }) => [`\`${path}\``, message]);
  return [
    `## ${group}/${name}${storage ? '' : ', converted from and to the stored version'}`,
    table(['field', 'type', 'required', 'meaning'], rows),
    ...(rules.length > 0 ? ['The API server refuses by itself, also when no webhook answers:', table(['field', 'rule'], rules)] : []),
  ].join('\n\n');
}

/** The field and all below it; `[]` stands for the items of a list. */
function fieldsOf(field: Field): Field[] {
  const { path, schema } = field;
  const inner = schema.items ?? schema;
  const at = schema.items === undefined ? path : `${path}[]`;
  const children = Object.entries(inner.properties ?? {}).flatMap(([name, child]) =>
    fieldsOf({ path: `${at}.${name}`, schema: child, isRequired: inner.required?.includes(name) === true }),
  );
  return [field, ...children];
}

function typeOf({ type, format, items, additionalProperties, enum: values }: OpenApiSchema): string {
  if (values !== undefined) return values.map((value) => `\`${String(value)}\``).join(', ');
  if (items !== undefined) return `list of ${typeOf(items)}`;
  if (additionalProperties !== undefined) return `map of ${typeOf(additionalProperties)}`;
  return format === undefined || format === 'int64' ? (type ?? '') : `${type} (${format})`;
}

function rulesOf(path: string, schema: OpenApiSchema): { path: string; message: string }[] {
  const own = (schema['x-kubernetes-validations'] ?? []).map(({ message, fieldPath = '' }) => ({
    path: `${path}${fieldPath}`.replace(/^\./, ''),
    message,
  }));
  const bound = schema.maxItems === undefined ? [] : [{ path, message: `at most ${schema.maxItems} items` }];
  const below = Object.entries(schema.properties ?? {}).flatMap(([name, child]) => rulesOf(path === '' ? name : `${path}.${name}`, child));
  return [...own, ...bound, ...below, ...(schema.items === undefined ? [] : rulesOf(`${path}[]`, schema.items))];
}
