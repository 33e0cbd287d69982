package processors

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/processors/series"
	"kemi.dev/kemi/processors/series/sink"
)

// addSeries makes the door of every configured sink.
func (r *Room) addSeries(opts Options) conf.Problems {
	if len(opts.Series) == 0 {
		name, s, problems := newEmbedded(r, opts, conf.Node{})
		r.addSink(opts, name, s)
		return problems
	}
	kinds := sinkKinds()
	known := slices.Sorted(maps.Keys(kinds))
	taken := map[string]conf.Node{}
	var all conf.Problems
	for _, n := range opts.Series {
		if n.Kind() != conf.Map || len(n.Keys()) != 1 {
			all = append(all, n.Problem("expected the kind of a store with its settings below it", "write for example `- embedded: {retention: 15d}`; known are "+strings.Join(known, ", ")))
			continue
		}
		key := n.Keys()[0]
		kind := kinds[key.Text()]
		if kind == nil {
			do := "known are " + strings.Join(known, ", ")
			if near := conf.Nearest(key.Text(), known); near != "" {
				do = fmt.Sprintf("did you mean %q? %s", near, do)
			}
			all = append(all, key.Problem(fmt.Sprintf("there is no store of the kind %q", key.Text()), do))
			continue
		}
		name, s, problems := kind(r, opts, n.Get(key.Text()))
		if len(problems) > 0 {
			all = append(all, problems...)
			continue
		}
		if first, twice := taken[name]; twice {
			all = append(all, key.Problem(
				fmt.Sprintf("a second store has the name %q (the first is in line %d)", name, first.Line()),
				"give it a name of its own: `name: …`; its position on the bus is kept under it"))
			continue
		}
		taken[name] = key
		r.addSink(opts, name, s)
	}
	return all
}

func (r *Room) addSink(opts Options, name string, s sink.Sink) {
	d := series.New(series.Options{Bus: opts.Bus, Name: name, Sink: s, Scope: opts.Scope})
	doors := &r.doors
	if _, local := s.(sink.Local); local {
		doors = &r.local
	}
	*doors = append(*doors, door{"series-" + name, d.Run})
}
