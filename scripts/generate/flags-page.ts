import type { Argument, Command, Option } from 'commander';
import { page, table } from './markdown.ts';

/** The reference of all commands and their flags. */
export function flagsPage(program: Command): string {
  const commands = program.commands.flatMap((command) => leaves(command, program.name()));
  return page(`# Commands and flags\n\n${program.description()} Exit codes: 0 done, 1 not well, 2 wrong input.`, ...commands.map(describe));
}

interface Leaf {
  readonly path: string;
  readonly command: Command;
}

/** The commands that do something, with the words before them. */
function leaves(command: Command, before: string): Leaf[] {
  const path = `${before} ${command.name()}`;
  return command.commands.length === 0 ? [{ path, command }] : command.commands.flatMap((each) => leaves(each, path));
}

function describe({ path, command }: Leaf): string {
  const words = command.registeredArguments.map(synopsisOf);
  const rows = command.options
    .filter(({ hidden }) => !hidden)
    .map((option) => [`\`${option.flags}\``, option.mandatory ? 'required' : defaultOf(option), meaningOf(option)]);
  return [
    `## ${path}`,
    `\`${[path, ...words].join(' ')}\`: ${command.description()}`,
    ...(rows.length > 0 ? [table(['flag', 'default', 'meaning'], rows)] : []),
  ].join('\n\n');
}

function synopsisOf(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function defaultOf({ defaultValue }: Option): string {
  return defaultValue === undefined || defaultValue === false ? '' : `\`${String(defaultValue)}\``;
}

function meaningOf({ description, argChoices }: Option): string {
  return argChoices === undefined ? description : `${description} (${argChoices.join(', ')})`;
}
