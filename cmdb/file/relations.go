package file

import (
	"strings"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
)

// relations are what a target needs, by kind.
type relations struct {
	RunsOn      needs `yaml:"runs_on"`
	ConnectedTo needs `yaml:"connected_to"`
	PoweredBy   needs `yaml:"powered_by"`
	DependsOn   needs `yaml:"depends_on"`
}

// needs are all needed; any one target of a need is enough. They are written as one id, as a list of ids and
// {any_of: [ids]}, or as one {any_of: [ids]}.
type needs [][]source.Text

const needForms = "write an id, a list such as [core-1, core-2] where all are needed, or {any_of: [core-1, core-2]} where one is enough"

// UnmarshalConf implements conf.Unmarshaler.
func (ns *needs) UnmarshalConf(n conf.Node) (problems conf.Problems) {
	*ns = nil
	switch n.Kind() {
	case conf.Null:
		return nil
	case conf.List:
		for _, item := range n.Items() {
			problems = append(problems, ns.add(item)...)
		}
		return problems
	default:
		return ns.add(n)
	}
}

// add takes one need.
func (ns *needs) add(n conf.Node) conf.Problems {
	switch n.Kind() {
	case conf.Scalar:
		*ns = append(*ns, []source.Text{{At: n.Pos(), Text: n.Text()}})
		return nil
	case conf.Map:
		var choice struct {
			AnyOf []source.Text `yaml:"any_of"`
		}
		problems := n.Into(&choice)
		if len(problems) == 0 && len(choice.AnyOf) == 0 {
			problems = conf.Problems{n.Problem("any_of names no target", needForms)}
		}
		*ns = append(*ns, choice.AnyOf)
		return problems
	default:
		return conf.Problems{n.Problem("expected a target, got "+n.Kind().String(), needForms)}
	}
}

// resolve gives the relations as they are said on the bus, and where each was written.
func (rs *relations) resolve() (map[string][]event.Need, []source.Ref) {
	var out map[string][]event.Need
	var refs []source.Ref
	for _, r := range []struct {
		kind string
		ns   needs
	}{
		{event.RunsOn, rs.RunsOn},
		{event.ConnectedTo, rs.ConnectedTo},
		{event.PoweredBy, rs.PoweredBy},
		{event.DependsOn, rs.DependsOn},
	} {
		for _, choice := range r.ns {
			need := make(event.Need, 0, len(choice))
			for _, t := range choice {
				id := strings.Clone(t.Text)
				need = append(need, id)
				refs = append(refs, source.Ref{Relation: r.kind, ID: id, At: t.At})
			}
			if out == nil {
				out = map[string][]event.Need{}
			}
			out[r.kind] = append(out[r.kind], need)
		}
	}
	return out, refs
}
