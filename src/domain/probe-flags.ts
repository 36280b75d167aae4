/** Of an endpoint, see `LaneStatement`. */
export type Stance = 'carries' | 'leaves' | 'waits';

/** What each probe says, in request and answer: in one byte, or in two where the sender's region has two lanes and both may matter to the receiver. */
export interface Statement {
  /** That packets for other regions, or from them, get through the sender. */
  readonly forwards: boolean;
  /** By lane; over the network of the own region all of them, to another region the one that its packets take. */
  readonly lanes: readonly LaneStatement[];
}

export interface LaneStatement {
  /**
   * Of an endpoint that has decided: it is the exit of its region (carries), or sends packets to the other one: and would take them (leaves), or does not know yet whether it could
   * (waits).
   */
  readonly stance: Stance | undefined;
  /** It carries because the controller changed its order. */
  readonly ruled: boolean;
  /** The receiver is the exit of the sender; across: the sender's packets for the receiver's region go to it. */
  readonly uses: boolean;
  /** Packets of the sender get through its exit. */
  readonly works: boolean;
  /** They do not, although the exit answers. */
  readonly distrusts: boolean;
}

/** Of a node that has nothing to choose. */
export const SAYS_NOTHING: Statement = {
  forwards: true,
  lanes: [{ stance: undefined, ruled: false, uses: false, works: false, distrusts: false }],
};

/** Set for every lane: 0 states nothing. */
const STATES = 1;
const DOES_NOT_FORWARD = 2;
const USES = 4;
const WORKS = 8;
const DISTRUSTS = 16;
const CARRIES = 32;
const LEAVES = 64;
/** With `CARRIES`: ruled. With `LEAVES`: waits. */
const EVEN = 128;

/** @returns a byte, or two: the second lane's is the high one */
export function encodeStatement({ forwards, lanes }: Statement): number {
  const first = forwards ? 0 : DOES_NOT_FORWARD;
  return lanes.reduce((all, lane, i) => all | (encodeLane(lane) << (8 * i)), first);
}

function encodeLane({ stance, ruled, uses, works, distrusts }: LaneStatement): number {
  const bits = [
    stance === 'carries' ? CARRIES : stance === undefined ? 0 : LEAVES,
    stance === 'waits' || (stance === 'carries' && ruled) ? EVEN : 0,
    uses ? USES : 0,
    works ? WORKS : 0,
    distrusts ? DISTRUSTS : 0,
  ];
  return bits.reduce((all, bit) => all | bit, STATES);
}

/** @returns undefined when nothing is stated */
export function decodeStatement(flags: number): Statement | undefined {
  const lanes = [flags & 0xff, flags >> 8].filter((byte) => (byte & STATES) !== 0).map(decodeLane);
  return lanes.length === 0 ? undefined : { forwards: (flags & DOES_NOT_FORWARD) === 0, lanes };
}

function decodeLane(byte: number): LaneStatement {
  const has = (bit: number): boolean => (byte & bit) !== 0;
  const stance = has(CARRIES) ? 'carries' : has(LEAVES) ? (has(EVEN) ? 'waits' : 'leaves') : undefined;
  return {
    stance,
    ruled: stance === 'carries' && has(EVEN),
    uses: has(USES),
    works: has(WORKS),
    distrusts: has(DISTRUSTS),
  };
}
