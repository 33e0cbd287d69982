package processors

import (
	"path/filepath"

	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/processors/series/embedded"
	"kemi.dev/kemi/processors/series/influxdb"
	"kemi.dev/kemi/processors/series/sink"
)

// sinkKind makes a sink from the configuration below its key; name tells the sinks of one Kemi apart.
type sinkKind func(r *Room, opts Options, n conf.Node) (name string, s sink.Sink, problems conf.Problems)

// sinkKinds are the stores that `series:` may name: one line each.
func sinkKinds() map[string]sinkKind {
	return map[string]sinkKind{
		"embedded": newEmbedded,
		"influxdb": newInfluxDB,
	}
}

func newEmbedded(r *Room, opts Options, n conf.Node) (string, sink.Sink, conf.Problems) {
	c := embedded.Default()
	if problems := n.Into(&c); len(problems) > 0 {
		return "", nil, problems
	}
	if r.store != nil {
		return "", nil, conf.Problems{n.Problem("there is an embedded store already", "keep one of them: they would hold the same")}
	}
	r.store = embedded.New(embedded.Options{
		Config: c, Dir: filepath.Join(opts.DataDir, "series"), Version: opts.Version, Canary: opts.Canary, Scope: opts.Scope,
	})
	return c.Name, r.store, nil
}

func newInfluxDB(_ *Room, opts Options, n conf.Node) (string, sink.Sink, conf.Problems) {
	c := influxdb.Default()
	if problems := n.Into(&c); len(problems) > 0 {
		return "", nil, problems
	}
	return c.Name, influxdb.New(influxdb.Options{Config: c, Scope: opts.Scope}), nil
}
