import { describe, expect, it } from 'vitest';
import { cacheablePrefix, contextSources, ignoredSources, parseCopy, parseDockerfile } from './dockerfile.ts';

const TEXT = `# what it is
FROM debian:x AS build
RUN apt-get update && \\
    # a remark
    apt-get install -y a \\
        b
WORKDIR /src
COPY package.json src/main.ts ./
RUN make

FROM debian:x
COPY --from=build /src/dist /opt/
COPY bin/raven /usr/bin/
USER 65532
`;

describe('a Dockerfile', () => {
  const stages = parseDockerfile(TEXT);

  it('is read stage by stage, continuation lines joined', () => {
    expect(
      stages.map(({ name, image, instructions }) => [name, image, ...instructions.map(({ keyword, text }) => `${keyword} ${text}`)]),
    ).toEqual([
      ['build', 'debian:x', 'RUN apt-get update && apt-get install -y a b', 'WORKDIR /src', 'COPY package.json src/main.ts ./', 'RUN make'],
      ['', 'debian:x', 'COPY --from=build /src/dist /opt/', 'COPY bin/raven /usr/bin/', 'USER 65532'],
    ]);
  });

  it('is kept up to the first instruction that depends on the checkout', () => {
    expect(stages.map((stage) => cacheablePrefix(stage).length)).toEqual([2, 0]);
  });

  it('tells what it takes from the checkout', () => {
    expect(contextSources(stages)).toEqual(['package.json', 'src/main.ts', 'bin/raven']);
  });

  it.each(['RUN before any FROM', 'FROM', 'FROM x\nHEALTHCHECK NONE', 'FROM x\nADD a b'])('is refused when not understood: %j', (text) => {
    expect(() => parseDockerfile(text)).toThrow('not understood');
  });

  it.each(['--chmod=755 a b', '--from=x --link a b', 'a'])('COPY %s is refused', (text) => {
    expect(() => parseCopy(text)).toThrow('not understood');
  });

  it('is told which of its sources .dockerignore keeps out', () => {
    expect(ignoredSources(stages, '# all but\n*\n!src\n!bin/raven\n')).toEqual(['package.json']);
    expect(() => ignoredSources(stages, 'node_modules\n')).toThrow('not understood');
  });
});
