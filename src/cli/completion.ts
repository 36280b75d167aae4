import type { Command } from 'commander';
import { UserError } from '../lib/errors.ts';

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .description('print a completion script: source <(raven completion bash)')
    .argument('<shell>', 'bash or zsh')
    .action((shell: string) => {
      if (shell !== 'bash' && shell !== 'zsh') {
        throw new UserError([{ source: 'completion', message: `${JSON.stringify(shell)} is not known; there are: bash, zsh` }]);
      }
      process.stdout.write(completionScript(program, shell));
    });
}

/** A script for bash(1), which zsh reads too through its `bashcompinit`: words by the commands typed so far, files elsewhere. */
export function completionScript(program: Command, shell: 'bash' | 'zsh'): string {
  const cases = listCommands(program, []).map(({ path, words }) => `    '${path}') words='${words}' ;;`);
  return [
    ...(shell === 'zsh' ? ['autoload -U +X bashcompinit && bashcompinit'] : []),
    '_raven() {',
    '  local word path= words= i',
    '  for ((i = 1; i < COMP_CWORD; i++)); do',
    '    word=${COMP_WORDS[i]}',
    '    [[ $word == -* ]] && break',
    '    path="${path:+$path }$word"',
    '  done',
    '  case $path in',
    ...cases,
    '  esac',
    '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
    '}',
    'complete -o default -F _raven raven',
    '',
  ].join('\n');
}

function listCommands(command: Command, path: readonly string[]): { path: string; words: string }[] {
  const words = [...command.commands.map((each) => each.name()), ...command.options.flatMap(({ long }) => long ?? []), '--help'];
  return [
    { path: path.join(' '), words: words.join(' ') },
    ...command.commands.flatMap((each) => listCommands(each, [...path, each.name()])),
  ];
}
