package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/kafka"
	"kemi.dev/kemi/bus/nats"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// brokers are the brokers this build knows: one line each.
var brokers = map[string]func(conf.Node, string, obs.Scope) (driver.Driver, conf.Problems){
	"kafka": broker(kafka.New),
	"nats":  broker(nats.New),
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

// durabilities are the words of bus: {durability: …}.
var durabilities = map[string]event.Durability{"process": event.Process, "power": event.Power}

// openBroker makes the configured driver, without a word that of the embedded NATS server, and says which topics are to
// have another durability than their own.
func openBroker(n conf.Node, data string, s obs.Scope) (driver.Driver, map[string]event.Durability, conf.Problems) {
	if n.IsZero() || n.Kind() == conf.Null {
		d, problems := brokers["nats"](conf.Node{}, data, s)
		return d, nil, problems
	}
	if n.Kind() != conf.Map {
		return nil, nil, conf.Problems{n.Problem("bus: takes a broker", "write bus: {nats: {embedded: true}}")}
	}
	kinds := slices.Sorted(maps.Keys(brokers))
	var kind conf.Node
	var problems conf.Problems
	for _, key := range n.Keys() {
		switch {
		case key.Text() == "durability":
		case brokers[key.Text()] == nil:
			do := "use " + strings.Join(kinds, ", ")
			if near := conf.Nearest(key.Text(), append(kinds, "durability")); near != "" {
				do = fmt.Sprintf("did you mean %q?", near)
			}
			problems = append(problems, key.Problem("there is no broker "+key.Text(), do))
		case !kind.IsZero():
			problems = append(problems, key.Problem("a second broker", "keep one of "+kind.Text()+" and "+key.Text()))
		default:
			kind = key
		}
	}
	durability, more := readDurability(n.Get("durability"))
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, nil, problems
	}
	if kind.IsZero() {
		d, problems := brokers["nats"](conf.Node{}, data, s)
		return d, durability, problems
	}
	d, problems := brokers[kind.Text()](n.Get(kind.Text()), data, s)
	return d, durability, problems
}

// readDurability reads topics with their durability; jobs.v1 stands for the jobs of every zone.
func readDurability(n conf.Node) (map[string]event.Durability, conf.Problems) {
	if n.IsZero() {
		return nil, nil
	}
	if n.Kind() != conf.Map {
		return nil, conf.Problems{n.Problem("durability takes topics", "write durability: {readings.v1: power}")}
	}
	known := bus.Classes()
	var problems conf.Problems
	out := map[string]event.Durability{}
	for _, key := range n.Keys() {
		topic, word := key.Text(), n.Get(key.Text())
		durability, ok := durabilities[word.Text()]
		if !slices.Contains(known, topic) {
			problems = append(problems, key.Problem("there is no topic "+topic, "the topics are "+strings.Join(known, ", ")))
		}
		if !ok {
			problems = append(problems, word.Problem(fmt.Sprintf("%q is no durability", word.Text()), "use process (survives kill -9) or power (on the disk before it counts)"))
		}
		out[topic] = durability
	}
	return out, problems
}

// reachedHereOnly says that only this process reaches the broker.
func reachedHereOnly(d driver.Driver) bool {
	e, ok := d.(interface{ Embedded() bool })
	return ok && e.Embedded()
}
