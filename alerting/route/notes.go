package route

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kemi.dev/kemi/internal/conf"
)

// Note is something that a tree says and that does not do what Alertmanager does by it.
type Note struct {
	// At is where it stands, Path how one gets there: route.routes[2].group_by.
	At   conf.Node
	Path string
	// What happens instead, and what to Do.
	What, Do string
}

// Problem is the note in the form of what is wrong with a configuration.
func (n Note) Problem() conf.Problem { return n.At.Problem(n.What, n.Do) }

// Notes lists what a tree says in vain, once for each key, in the order of the file. Names need not be right.
func Notes(n conf.Node) []Note {
	var all []Note
	places := map[string]int{}
	say := func(at conf.Node, path, key, what, do string) {
		if at = at.Get(key); at.Kind() == conf.Null {
			return
		}
		if places[key]++; places[key] == 1 {
			all = append(all, Note{At: at, Path: path + "." + key, What: what, Do: do})
		}
	}
	var walk func(n conf.Node, path string, inherited []string)
	walk = func(n conf.Node, path string, inherited []string) {
		say(n, path, "group_by", "group_by makes no incidents here: one cause is one incident, whatever its labels; where no relations are known, what fails at once on one team's targets of one class is",
			"remove it (only /api/v2/alerts/groups goes by it); alerting.similar_count and similar_within say what at once is")
		say(n, path, "group_interval", "group_interval is not waited for: whoever was told hears at once that it is over, and of another cause after alerting.group_wait", "remove it")
		if !tellsReceivers(n, inherited) {
			say(n, path, "repeat_interval", "repeat_interval is for receivers, and this way goes to teams: whom they call again, and when, their escalation says", "remove it, and look at teams: escalation")
		}
		for i, r := range n.Get("routes").Items() {
			walk(r, fmt.Sprintf("%s.routes[%d]", path, i), receiversOf(n, inherited))
		}
	}
	walk(n, "route", nil)
	for i := range all {
		key := all[i].Path[strings.LastIndex(all[i].Path, ".")+1:]
		if more := places[key] - 1; more > 0 {
			all[i].What += " (so on " + strconv.Itoa(more) + " more of the routes)"
		}
	}
	return all
}

// receiversOf are whom a route names; inherited is who is told when it names nobody.
func receiversOf(n conf.Node, inherited []string) []string {
	switch at := n.Get("receiver"); at.Kind() {
	case conf.Scalar:
		return []string{at.Text()}
	case conf.List:
		var names []string
		for _, item := range at.Items() {
			names = append(names, item.Text())
		}
		return names
	}
	return inherited
}

// tellsReceivers says whether a route, or one below that has its repeat_interval from it, tells a receiver that is no
// team's way.
func tellsReceivers(n conf.Node, inherited []string) bool {
	names := receiversOf(n, inherited)
	if slices.ContainsFunc(names, func(name string) bool { return name != Owner && !strings.HasPrefix(name, TeamPrefix) }) {
		return true
	}
	return slices.ContainsFunc(n.Get("routes").Items(), func(r conf.Node) bool {
		return r.Get("repeat_interval").Kind() == conf.Null && tellsReceivers(r, names)
	})
}
