import { type Command, Option } from 'commander';
import type { GatewayVersion } from '../api/conversion.ts';
import { ALPHA_VERSION, BETA_VERSION } from '../api/names.ts';

export function addConvertCommand(program: Command): void {
  program
    .command('convert')
    .description('write the Gateways of a manifest in another version, as the conversion webhook would')
    .requiredOption('-f, --filename <path...>', 'files, directories, or - for standard input')
    .addOption(new Option('--to <version>', 'the version wanted').choices([ALPHA_VERSION, BETA_VERSION]).makeOptionMandatory())
    .addOption(new Option('-o, --output <format>', 'how to write them').choices(['yaml', 'json']).default('yaml'))
    .addHelpText(
      'after',
      `
Everything else stays as it is, comments too; those inside a converted Gateway are lost. What v1alpha1 cannot say is kept in an annotation.
Nothing is written when something is wrong (exit code 2).`,
    )
    .action(async (options: { filename: string[]; to: GatewayVersion; output: string }) => {
      const { runConvert } = await import('./convert-run.ts');
      await runConvert(options);
    });
}
