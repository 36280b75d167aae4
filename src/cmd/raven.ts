import { Command, CommanderError } from 'commander';
import { addAgentCommand } from '../cli/agent.ts';
import { addCharonCommand } from '../cli/charon.ts';
import { addCompletionCommand } from '../cli/completion.ts';
import { addControllerCommand } from '../cli/controller.ts';
import { addGetCommand } from '../cli/get.ts';
import { addLabCommands } from '../cli/lab.ts';
import { addPlanCommand } from '../cli/plan.ts';
import { addStatusCommand } from '../cli/status.ts';
import { UserError } from '../lib/errors.ts';

/** Exit codes: 0 done, 1 the thing asked about is not well (or an unexpected fault), 2 wrong input. */
const EXIT_USER_ERROR = 2;

const program = new Command('raven')
  .description('Connects the pods of Kubernetes clusters whose nodes stand in many places.')
  .version('0.1.0')
  .showHelpAfterError('(raven --help shows what there is)')
  .exitOverride();
for (const add of [
  addAgentCommand,
  addCharonCommand,
  addControllerCommand,
  addGetCommand,
  addPlanCommand,
  addStatusCommand,
  addLabCommands,
  addCompletionCommand,
])
  add(program, process.env);

// A reader that went away (`raven get … | head`) is no fault.
process.stdout.on('error', () => process.exit(0));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_USER_ERROR;
  else if (error instanceof UserError) {
    process.stderr.write(`raven: ${error.message}\n`);
    process.exitCode = EXIT_USER_ERROR;
  } else {
    process.stderr.write(`raven: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  }
}
