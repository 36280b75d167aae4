import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** One metric, as data: the reference in the documentation is made from it too. */
export interface MetricDefinition {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labelNames: readonly string[];
}

/** A registry of its own for each program, so that tests can have several. */
export interface Metrics {
  readonly registry: Registry;
  readonly counter: (definition: MetricDefinition) => Counter;
  /** @param collect sets the value when somebody asks */
  readonly gauge: (definition: MetricDefinition, collect?: (self: Gauge) => void) => Gauge;
  /** @param buckets upper bounds, in the unit of the metric */
  readonly histogram: (definition: MetricDefinition, buckets: readonly number[]) => Histogram;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  return {
    registry,
    counter: (definition) => new Counter({ ...optionsOf(definition), registers }),
    gauge: (definition, collect) => {
      const self: Gauge = new Gauge({ ...optionsOf(definition), registers, ...(collect && { collect: () => collect(self) }) });
      return self;
    },
    histogram: (definition, buckets) => new Histogram({ ...optionsOf(definition), buckets: [...buckets], registers }),
  };
}

function optionsOf({ name, help, labelNames }: MetricDefinition): { name: string; help: string; labelNames: string[] } {
  return { name, help, labelNames: [...labelNames] };
}
