import type { z } from 'zod';

/** One violation of a kind's schema or of the API contract. */
export interface FieldError {
  /** As `kubectl` prints it: `spec.endpoints[0].port`; keys that are no plain words stand in brackets. */
  readonly path: string;
  readonly message: string;
}

/** What zod found, in our words; the input must have been reported (`reportInput`). */
export function fieldErrorOf({ code, input, message, path }: z.core.$ZodIssue): FieldError {
  const missing = code === 'invalid_type' && input === undefined;
  return { path: formatPath(path), message: missing ? 'is required' : message.replace(/^Invalid input: /, '') };
}

/** `spec.endpoints[0].port`; keys that are no plain words stand in brackets. */
export function formatPath(steps: readonly PropertyKey[]): string {
  return steps.reduce<string>((path, step) => {
    if (typeof step === 'string' && /^[\w-]+$/.test(step)) return path === '' ? step : `${path}.${step}`;
    return `${path}[${String(step)}]`;
  }, '');
}

/** The way that a path describes. */
export function stepsOf(path: string): PropertyKey[] {
  return [...path.matchAll(/\[([^\]]+)\]|[^.[\]]+/g)].map(([word, inBrackets = word]) =>
    /^\d+$/.test(inBrackets) ? Number(inBrackets) : inBrackets,
  );
}

/** The value without fields that are null: they count as absent, as everywhere in Kubernetes. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== null);
  return Object.fromEntries(fields.map(([key, field]) => [key, withoutNulls(field)]));
}
