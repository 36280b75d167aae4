import { CommanderError } from 'commander';
import { createProgram } from '../cli/program.ts';
import { OutsideError, UserError } from '../lib/errors.ts';

/** Exit codes: 0 done, 1 the thing asked about is not well (or an unexpected fault), 2 wrong input. */
const EXIT_USER_ERROR = 2;

const program = createProgram(process.env);

// A reader that went away (`raven get … | head`) is no fault.
process.stdout.on('error', () => process.exit(0));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_USER_ERROR;
  else if (error instanceof UserError) {
    process.stderr.write(`raven: ${error.message}\n`);
    process.exitCode = EXIT_USER_ERROR;
  } else if (error instanceof OutsideError) {
    process.stderr.write(`raven: ${error.message}\n`);
    process.exitCode = 1;
  } else {
    process.stderr.write(`raven: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  }
}
