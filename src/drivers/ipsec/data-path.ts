import type { Exec } from '../exec/exec.ts';
import { type DataPathChoice, type Trial, tryAll } from '../tunnel/trial.ts';

/** The last of our interface ids, which no plan uses. */
const IF_ID = 0x52ffffff;
/** What the kernel data path needs. The key (16 bytes and a salt of 4, RFC 4106 §8.1) protects nothing. */
const TRIALS: readonly Trial[] = [
  { what: 'XFRM interfaces', line: `link add rvn-try type xfrm dev lo if_id ${IF_ID}`, undo: 'link del rvn-try' },
  {
    what: 'ESP with AES-GCM in UDP',
    line: `xfrm state add src 127.0.0.1 dst 127.0.0.2 proto esp spi 0x1 mode tunnel aead rfc4106(gcm(aes)) 0x${'00'.repeat(20)} 128 encap espinudp 4500 4500 0.0.0.0 if_id ${IF_ID}`,
    undo: 'xfrm state delete src 127.0.0.1 dst 127.0.0.2 proto esp spi 0x1',
  },
];

/** Finds out whether this kernel can carry the tunnels, by making one of each object: see `tryAll`. */
export async function detectDataPath(exec: Exec): Promise<DataPathChoice> {
  const failures = await tryAll(exec, TRIALS);
  if (failures.length === 0) return { dataPath: 'kernel', reason: `the kernel has ${TRIALS.map(({ what }) => what).join(' and ')}` };
  return { dataPath: 'user', reason: `the kernel lacks ${failures.join('; ')}` };
}
