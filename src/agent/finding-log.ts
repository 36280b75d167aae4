import type { NodePlan } from '../domain/node-plan.ts';
import type { Logger } from '../lib/logger.ts';

/** Says once what a plan has found, and again when it comes back. */
export interface FindingLog {
  log(plan: Pick<NodePlan, 'findings' | 'role'>): void;
}

export function createFindingLog(log: Logger): FindingLog {
  let said: ReadonlySet<string> = new Set();
  let saidRole: string | undefined;
  return {
    log: ({ findings, role }) => {
      if (role !== saidRole) log.info({ role }, 'role');
      saidRole = role;
      for (const finding of findings) if (!said.has(JSON.stringify(finding))) log.warn(finding, finding.message);
      said = new Set(findings.map((finding) => JSON.stringify(finding)));
    },
  };
}
