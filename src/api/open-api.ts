import { z } from 'zod';

/** A structural schema of Kubernetes ("Extend the Kubernetes API with CustomResourceDefinitions"): OpenAPI v3 without references. */
export interface OpenApiSchema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, OpenApiSchema>>;
  readonly additionalProperties?: OpenApiSchema;
  readonly items?: OpenApiSchema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly nullable?: true;
  readonly format?: string;
  readonly maxItems?: number;
  readonly maxLength?: number;
  readonly 'x-kubernetes-validations'?: readonly CelRule[];
}

/** Kubernetes docs, "Validation rules": a CEL expression about `self` that must be true. */
export interface CelRule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
}

/** What may be written, in the form of a CustomResourceDefinition. Metadata is the API server's own matter. */
export function toOpenApi(schema: z.ZodType): OpenApiSchema {
  const { properties = {}, ...rest } = convert(z.toJSONSchema(schema, { io: 'input' }));
  const text: OpenApiSchema = { type: 'string' };
  return { ...rest, properties: { ...properties, apiVersion: text, kind: text, metadata: { type: 'object' } } };
}

/** The same schema with something added at a path such as `spec.endpoints[]`. @throws when there is no such field */
export function extendSchema(schema: OpenApiSchema, path: string, addition: OpenApiSchema): OpenApiSchema {
  const [, field, isArray, rest] = /^([^.[]+)(\[\])?\.?(.*)$/.exec(path) ?? [];
  if (field === undefined) return { ...schema, ...addition };
  const found = schema.properties?.[field];
  if (found === undefined) throw new Error(`the schema has no field ${field}`);
  const next =
    isArray === undefined
      ? extendSchema(found, rest ?? '', addition)
      : { ...found, items: extendSchema(found.items ?? {}, rest ?? '', addition) };
  return { ...schema, properties: { ...schema.properties, [field]: next } };
}

type JsonSchema = Readonly<Record<string, unknown>>;

function convert(schema: JsonSchema): OpenApiSchema {
  const { anyOf } = schema;
  if (Array.isArray(anyOf)) return convertUnion(schema, anyOf as JsonSchema[]);
  const { type, description, properties, additionalProperties, items, required } = schema;
  const names = Array.isArray(type) ? (type as string[]) : [type as string];
  const name = names.find((each) => each !== 'null');
  return {
    ...(description !== undefined && { description: description as string }),
    ...(name !== undefined && { type: name }),
    ...(names.includes('null') && { nullable: true as const }),
    ...(name === 'integer' && { format: 'int64' }),
    ...(properties !== undefined && { properties: mapValues(properties as Record<string, JsonSchema>) }),
    // An open object of zod is a closed one here: the API server drops what no reader knows.
    ...(isObject(additionalProperties) &&
      Object.keys(additionalProperties).length > 0 && { additionalProperties: convert(additionalProperties) }),
    ...(isObject(items) && { items: convert(items) }),
    ...(Array.isArray(required) && required.length > 0 && { required: required as string[] }),
    ...(Array.isArray(schema['enum']) && { enum: schema['enum'] as unknown[] }),
  };
}

/** Of unions there are only those with null. */
function convertUnion({ description }: JsonSchema, parts: readonly JsonSchema[]): OpenApiSchema {
  const [value, ...others] = parts.filter(({ type }) => type !== 'null');
  if (value === undefined || others.length > 0) throw new Error('a union of several types cannot be a structural schema');
  return { ...(description !== undefined && { description: description as string }), ...convert(value), nullable: true };
}

function mapValues(record: Readonly<Record<string, JsonSchema>>): Record<string, OpenApiSchema> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, convert(value)]));
}

function isObject(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null;
}
