import { OutsideError } from '../../lib/errors.ts';
/** One request that was made, for metrics and for the figures of `make bench`. */
export interface RequestRecord {
  /** `GET`, `PATCH` … or `WATCH`. */
  readonly verb: string;
  /** Plural of the resource, such as `gateways`; empty for others (`/version`). */
  readonly resource: string;
  /** HTTP status; undefined when there was no answer. */
  readonly code: number | undefined;
  readonly sentBytes: number;
  /** Of the body; a watch reports when it ends. */
  readonly receivedBytes: number;
  readonly durationMs: number;
}

export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Such as `/api/v1/nodes/a1`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Default `application/json`; for PATCH `application/apply-patch+yaml`, `application/merge-patch+json` … */
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

/** Authenticated requests to one API server. Gives up on an answer that does not come (half-open connections included). */
export interface KubeClient {
  /**
   * @returns the JSON of the answer
   * @throws {KubeApiError} for an answer that is no success
   * @throws {Error} when there is no answer
   */
  request<T>(request: KubeRequest): Promise<T>;
  /** Lines of a watch's answer, each parsed, until the server ends it or `signal` aborts. */
  watch(request: KubeRequest): AsyncIterable<unknown>;
  close(): Promise<void>;
}

/** The API server's answer `Status` (API conventions, "Response Status Kind"). */
export class KubeApiError extends OutsideError {
  override readonly name = 'KubeApiError';
  readonly code: number;
  /** Such as `NotFound`, `Conflict`, `Invalid`, `Expired`. */
  readonly reason: string;

  constructor(code: number, reason: string, message: string) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}
