package app

import (
	"maps"
	"slices"
	"strings"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/nats"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// brokers are the brokers this build knows: one line each.
var brokers = map[string]func(conf.Node, string, obs.Scope) (driver.Driver, conf.Problems){
	"nats": broker(nats.New),
}

func broker[C any, D driver.Driver](open func(C, string, obs.Scope) (D, error)) func(conf.Node, string, obs.Scope) (driver.Driver, conf.Problems) {
	return func(n conf.Node, data string, s obs.Scope) (driver.Driver, conf.Problems) {
		var c C
		if !n.IsZero() {
			if problems := n.Into(&c); len(problems) > 0 {
				return nil, problems
			}
		}
		d, err := open(c, data, s)
		if err != nil {
			return nil, conf.Problems{n.Problem(err.Error(), "see docs/operating.md")}
		}
		return d, nil
	}
}

// broker makes the configured one; without a word it is the embedded NATS server.
func (a *App) broker() (driver.Driver, error) {
	d, problems := openBroker(a.Config.Bus, a.data, a.scope)
	return d, problems.Err()
}

func openBroker(n conf.Node, data string, s obs.Scope) (driver.Driver, conf.Problems) {
	kinds := slices.Sorted(maps.Keys(brokers))
	keys := n.Keys()
	switch {
	case n.IsZero() || n.Kind() == conf.Null:
		return brokers["nats"](conf.Node{}, data, s)
	case n.Kind() != conf.Map || len(keys) != 1:
		return nil, conf.Problems{n.Problem("bus: takes one broker", "write bus: {nats: {embedded: true}}")}
	}
	kind := keys[0].Text()
	open := brokers[kind]
	if open == nil {
		return nil, conf.Problems{keys[0].Problem("there is no broker "+kind, "use "+strings.Join(kinds, ", "))}
	}
	return open(n.Get(kind), data, s)
}
