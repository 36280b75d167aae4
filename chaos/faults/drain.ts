import { DRAIN_ANNOTATION } from '../../src/api/names.ts';
import { type Fault, HITLESS } from '../fault.ts';
import { withKey } from '../objects.ts';
import type { Rig } from '../rig.ts';

/** Others move first, then it stops. */
const MOVING_MS = 10_000;

/** Planned maintenance of the gateway (R23): everybody moves away before it stops. */
export const DRAIN_FAULTS: readonly Fault[] = [
  {
    name: 'cordon',
    requirement: 'R23',
    what: 'the gateway is cordoned, and uncordoned',
    expected: { ...HITLESS, carrier: 'moves' },
    places: ['objects', 'nodes'],
    lastsMs: MOVING_MS,
    inject: (rig, { carrier }) => cordon(rig, carrier, true),
    heal: (rig, { carrier }) => cordon(rig, carrier, false),
  },
  {
    name: 'drain-annotation',
    requirement: 'R23',
    what: `the gateway's Node is given the annotation ${DRAIN_ANNOTATION}, which is taken away again`,
    expected: { ...HITLESS, carrier: 'moves' },
    places: ['objects', 'nodes'],
    lastsMs: MOVING_MS,
    inject: (rig, { carrier }) => annotate(rig, carrier, 'true'),
    heal: (rig, { carrier }) => annotate(rig, carrier, undefined),
  },
];

function cordon(rig: Rig, node: string, unschedulable: boolean): Promise<void> {
  return rig.objects.edit('Node', node, (object) => ({ ...object, spec: { ...object.spec, unschedulable } }));
}

function annotate(rig: Rig, node: string, value: string | undefined): Promise<void> {
  return rig.objects.edit('Node', node, (object) => withKey(object, 'annotations', DRAIN_ANNOTATION, value));
}
