import { pino, type Logger as Pino } from 'pino';
import type { LogLevel } from './logger-levels.ts';

/** Structured log, one JSON object a line. */
export type Logger = Pick<Pino, 'debug' | 'info' | 'warn' | 'error' | 'child'>;

/** Logs to stderr; secrets are blanked whatever object carries them. */
export function createLogger(program: string, level: LogLevel): Logger {
  return pino(
    {
      name: program,
      level,
      redact: ['psk', '*.psk', 'secret', '*.secret'],
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}
