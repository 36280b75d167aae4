import { createVitest } from 'vitest/node';

/**
 * Runs one project of vitest.config.ts: `node scripts/test/vitest.ts PROJECT REPORT`. When the runner that started it closes
 * the channel between them, or dies, the run is cancelled as by a person at the terminal: what tests set up is taken down.
 */
const [project = 'unit', outputFile = '/dev/null'] = process.argv.slice(2);

const vitest = await createVitest('test', { project: [project], watch: false, reporters: ['default', ['json', { outputFile }]] });
process.once('disconnect', () => void vitest.cancelCurrentRun('keyboard-input'));
await vitest.start();
await vitest.close();
process.exit();
