import { execFileSync } from 'node:child_process';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { completionScript } from './completion.ts';

function program(): Command {
  const raven = new Command('raven');
  raven.command('get').option('-o, --output <format>');
  raven.command('lab').command('up').option('--name <name>');
  return raven;
}

/** What bash would offer behind these words. */
function offered(...words: string[]): string[] {
  const script = `${completionScript(program(), 'bash')}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _raven; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim().split('\n');
}

describe('the completion script', () => {
  it('offers commands, their commands, and their options', () => {
    expect(offered('raven', '')).toEqual(['get', 'lab', '--help']);
    expect(offered('raven', 'g')).toEqual(['get']);
    expect(offered('raven', 'lab', '')).toEqual(['up', '--help']);
    expect(offered('raven', 'lab', 'up', '--')).toEqual(['--name', '--help']);
  });
});
