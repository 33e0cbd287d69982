package cmdb

import (
	"fmt"
	"maps"
	"slices"

	"kemi.dev/kemi/cmdb/file"
	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
)

// maker makes a source from its configuration.
type maker func(conf.Node, source.Env) (source.Source, conf.Problems)

// kinds lists the sources, one line each.
func kinds() map[string]maker {
	return map[string]maker{
		"file": plug(file.Default, file.New),
	}
}

// plug reads a plug-in's configuration and makes it.
func plug[C any, S source.Source](defaults func() C, make func(C, source.Env) S) maker {
	return func(n conf.Node, env source.Env) (source.Source, conf.Problems) {
		c := defaults()
		if problems := n.Into(&c); len(problems) > 0 {
			return nil, problems
		}
		return make(c, env), nil
	}
}

// open makes the configured sources.
func open(nodes []conf.Node, env source.Env) ([]source.Source, conf.Problems) {
	var sources []source.Source
	var problems conf.Problems
	known := kinds()
	names := map[string]conf.Node{}
	for _, n := range nodes {
		if n.Kind() != conf.Map || len(n.Keys()) != 1 {
			problems = append(problems, n.Problem("expected one kind of source with its settings, got "+n.Kind().String(), "write it as - file: {path: targets/*.yaml}"))
			continue
		}
		key := n.Keys()[0]
		make, ok := known[key.Text()]
		if !ok {
			all := slices.Sorted(maps.Keys(known))
			do := fmt.Sprintf("the known kinds are %v", all)
			if near := conf.Nearest(key.Text(), all); near != "" {
				do = fmt.Sprintf("did you mean %q?", near)
			}
			problems = append(problems, key.Problem(fmt.Sprintf("there is no kind of source %q", key.Text()), do))
			continue
		}
		s, more := make(n.Get(key.Text()), env)
		problems = append(problems, more...)
		if len(more) > 0 {
			continue
		}
		if first, twice := names[s.Name()]; twice {
			problems = append(problems, key.Problem(fmt.Sprintf("the source %s is named twice, first on line %d", s.Name(), first.Line()), "keep one of the two"))
			continue
		}
		names[s.Name()] = key
		sources = append(sources, s)
	}
	return sources, problems
}
