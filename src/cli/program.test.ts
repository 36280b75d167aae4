import { describe, expect, it } from 'vitest';
import { createProgram } from './program.ts';

describe('raven', () => {
  it('describes every command and every flag', () => {
    const program = createProgram({});
    expect(program.commands.map((command) => command.name())).toEqual(
      expect.arrayContaining(['agent', 'controller', 'validate', 'convert']),
    );
    const silent = program.commands.flatMap((command) => [
      ...(command.description() === '' ? [command.name()] : []),
      ...command.options.filter(({ description }) => description === '').map(({ flags }) => `${command.name()} ${flags}`),
    ]);
    expect(silent).toEqual([]);
  });
});
