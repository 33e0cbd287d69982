package importer

import (
	"fmt"
	"slices"

	"github.com/prometheus/alertmanager/config"

	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/internal/conf"
)

// route converts a route and those below it.
func (c *converter) route(n conf.Node, path string) mapping {
	var out mapping
	for _, key := range n.Keys() {
		at := n.Get(key.Text())
		switch key.Text() {
		case "receiver":
			names := c.told[at.Text()]
			if len(names) == 1 {
				out.add("receiver", names[0])
				continue
			}
			var all []any
			for _, name := range names {
				all = append(all, name)
			}
			if len(all) > 0 {
				out.add("receiver", all)
			}
		case "continue":
			if truth(at.Text()) {
				out.add("continue", true)
			}
		case "labels":
			c.note(at, path+".labels", "labels of routes are not brought over", "label the alerts in their rules, or use one receiver for each text")
		case "routes":
			var all []any
			for i, r := range at.Items() {
				all = append(all, c.route(r, fmt.Sprintf("%s.routes[%d]", path, i)))
			}
			out.add("routes", all)
		default:
			out.add(key.Text(), generic(at))
		}
	}
	if path == "route" && n.Get("repeat_interval").Kind() == conf.Null {
		out.add("repeat_interval", "4h") // Alertmanager's, which with us is said or is not.
	}
	return out
}

// prune takes out the routes that no alert can reach, which Kemi does not load, and makes sure that it loads the rest.
func (c *converter) prune(out *mapping, theirs conf.Node, judged *config.Config) error {
	tree := out.get("route").(mapping)
	read := func() conf.Node {
		var w writer // As it would be read: nothing in it is expanded.
		w.block(tree, 0)
		nodes, _ := conf.ParseRaw("route", w.out.Bytes())
		return nodes[0]
	}
	dead, problems := route.FindUnreachable(read())
	if len(problems) > 0 {
		return fmt.Errorf("bring the routes over: %w", problems)
	}
	for _, d := range slices.Backward(dead) {
		path, at := "route", theirs
		for _, i := range d.Index {
			path += fmt.Sprintf(".routes[%d]", i)
			at = at.Get("routes").Items()[i]
		}
		c.note(at, path, "no alert can reach it and it is left out: "+d.Why, "if it was meant to be reached, correct it and import again")
		tree = cut(tree, d.Index)
	}
	for i := range *out {
		if (*out)[i].key == "route" {
			(*out)[i].value = tree
		}
	}
	known := route.Known{}
	for _, names := range c.told {
		known.Receivers = append(known.Receivers, names...)
	}
	for _, i := range judged.MuteTimeIntervals {
		known.Intervals = append(known.Intervals, i.Name)
	}
	for _, i := range judged.TimeIntervals {
		known.Intervals = append(known.Intervals, i.Name)
	}
	if _, problems := route.New(read(), known, route.AlertmanagerWaits()); len(problems) > 0 {
		return fmt.Errorf("bring the routes over: %w", problems)
	}
	return nil
}

// cut removes the route at an index and returns the tree without it.
func cut(tree mapping, index []int) mapping {
	for i, p := range tree {
		if p.key != "routes" {
			continue
		}
		routes := slices.Clone(p.value.([]any))
		if len(index) == 1 {
			routes = slices.Delete(routes, index[0], index[0]+1)
		} else {
			routes[index[0]] = cut(routes[index[0]].(mapping), index[1:])
		}
		tree = slices.Clone(tree)
		tree[i].value = routes
		if len(routes) == 0 {
			tree = slices.Delete(tree, i, i+1)
		}
		break
	}
	return tree
}
