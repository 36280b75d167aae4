import { Command } from 'commander';
import { addAgentCommand } from './agent.ts';
import { addCharonCommand } from './charon.ts';
import { addCompletionCommand } from './completion.ts';
import { addControllerCommand } from './controller.ts';
import { addConvertCommand } from './convert.ts';
import { addGetCommand } from './get.ts';
import { addLabCommands } from './lab.ts';
import { addPlanCommand } from './plan.ts';
import { addStatusCommand } from './status.ts';
import { addValidateCommand } from './validate.ts';

/** All commands of `raven`; nothing runs yet. @param env what they look for settings in, once they run */
export function createProgram(env: NodeJS.ProcessEnv): Command {
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
    addValidateCommand,
    addConvertCommand,
    addLabCommands,
    addCompletionCommand,
  ])
    add(program, env);
  return program;
}
