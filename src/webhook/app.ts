import { Hono } from 'hono';
import type { z } from 'zod';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { admissionReview, convert, conversionReview, mutate, validate } from './reviews.ts';

/** One review that was answered, for metrics. */
export interface ReviewRecord {
  readonly path: '/validate' | '/mutate' | '/convert';
  /** `refused`: by the contract, or objects that cannot be converted. `malformed`: not a review at all. */
  readonly result: 'ok' | 'refused' | 'malformed' | 'failed';
  readonly durationMs: number;
}

export interface WebhookAppOptions {
  readonly log: Logger;
  readonly onReview?: (record: ReviewRecord) => void;
}

const MIB = 1024 * 1024;
/** An API server takes requests up to 3 MiB (`MaxRequestBodyBytes`); a review of an update holds two objects, and what stands around them. */
const ADMISSION_LIMIT_BYTES = 7 * MIB;
/** All objects of a list come in one review: some 6 MiB for 1,000 Gateways of 10 nodes. */
const CONVERSION_LIMIT_BYTES = 64 * MIB;

/** What an API server asks: `POST /validate`, `/mutate` and `/convert`, each with a review as JSON. No answer depends on an earlier one. */
export function createWebhookApp({ log, onReview }: WebhookAppOptions): Hono {
  const app = new Hono();

  function serve<T>(path: ReviewRecord['path'], limitBytes: number, schema: z.ZodType<T>, answer: (review: T) => Answer): void {
    app.post(path, async (context) => {
      const startedAt = performance.now();
      const done = (result: ReviewRecord['result']): void => onReview?.({ path, result, durationMs: performance.now() - startedAt });
      try {
        const text = await readText(context.req.raw, limitBytes);
        if (text === undefined) {
          done('malformed');
          return context.json(failure(413, `is more than ${limitBytes} bytes`), 413);
        }
        const parsed = schema.safeParse(parseJson(text));
        if (!parsed.success) {
          done('malformed');
          return context.json(failure(400, `is no review: ${problemsOf(parsed.error)}`), 400);
        }
        const answered = answer(parsed.data);
        const refused = isRefused(answered);
        if (refused !== undefined) log.info({ path, uid: answered.response.uid, message: refused }, 'refused');
        done(refused === undefined ? 'ok' : 'refused');
        return context.json(answered);
      } catch (error) {
        done('failed');
        log.error({ path, error: messageOf(error) }, 'could not answer a review');
        return context.json(failure(500, messageOf(error)), 500);
      }
    });
  }

  serve('/validate', ADMISSION_LIMIT_BYTES, admissionReview, validate);
  serve('/mutate', ADMISSION_LIMIT_BYTES, admissionReview, mutate);
  serve('/convert', CONVERSION_LIMIT_BYTES, conversionReview, convert);
  app.notFound((context) => context.json(failure(404, 'there is POST /validate, /mutate and /convert'), 404));
  return app;
}

type Answer = ReturnType<typeof validate> | ReturnType<typeof convert>;

/** Undefined when there is more. Hono's own `bodyLimit` cannot read a body of unknown length unless Node.js' global `Request` is replaced. */
async function readText(request: Request, limitBytes: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.length;
    if (bytes > limitBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Undefined, which is no review, for what is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Why, when the answer is a refusal. */
function isRefused({ response }: Answer): string | undefined {
  if ('allowed' in response) return response.allowed ? undefined : (response.status?.message ?? '');
  return response.result.status === 'Failure' ? response.result.message : undefined;
}

function problemsOf({ issues }: z.ZodError): string {
  return issues.map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`)).join('; ');
}

/** `metav1.Status`. */
function failure(code: number, message: string): Readonly<Record<string, unknown>> {
  return { apiVersion: 'v1', kind: 'Status', status: 'Failure', code, message };
}
