package alerting

import (
	"fmt"
	"maps"
	"slices"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/internal/conf"
)

// lacks says what keeps pages by a receiver from a person, or with "" from a place where a team reads; "" when nothing does.
func (p *people) lacks(receiver, person string) (what, do string) {
	r, ok := p.receivers[receiver].(notify.Reacher)
	if !ok {
		return "", ""
	}
	who := p.persons[person]
	return r.Lacks(person, contactOf(who))
}

func contactOf(who oncall.Person) notify.Contact {
	return notify.Contact{Name: who.Name, Mail: who.Mail, Phone: who.Phone, Handles: who.Handles}
}

// judgeWays says which of a person's ways lead nowhere, and which handles nobody asks for.
func (p *people) judgeWays(key string, who oncall.Person, n conf.Node, kinds []string) (problems, notes conf.Problems) {
	items := n.Get("ways").Items()
	for i, way := range who.Ways {
		at := n.Get("ways")
		if i < len(items) {
			at = items[i]
		}
		if _, there := p.receivers[way]; there {
			if what, do := p.lacks(way, key); what != "" {
				problems = append(problems, at.Problem(what, do))
			}
			continue
		}
		if way != "" { // Else it is no name, which was said.
			problems = append(problems, at.Problem(`there is no receiver "`+way+`"`, suggest(way, slices.Sorted(maps.Keys(p.receivers)), "the receivers are ")))
		}
	}
	for _, at := range n.Get("handles").Keys() {
		name := at.Text()
		if _, there := p.receivers[name]; there || slices.Contains(kinds, name) {
			continue
		}
		do := "name the receiver, or its kind"
		if near := conf.Nearest(name, slices.Concat(slices.Sorted(maps.Keys(p.receivers)), kinds)); near != "" {
			do = `did you mean "` + near + `"?`
		}
		notes = append(notes, at.Problem(fmt.Sprintf("no receiver is called %q or is of that kind, so that nothing uses this handle of %s", name, key), do))
	}
	return problems, notes
}

// judgeTurns says who is on call in a schedule by which a team calls, and cannot be called.
func (p *people) judgeTurns(s *oncall.Schedule) (problems conf.Problems) {
	layers := slices.Concat(s.Layers, s.Secondary.Layers)
	if h := s.Holidays; h != nil && h.Layer != nil {
		layers = append(layers, *h.Layer)
	} else if h != nil && h.Person != nil {
		layers = append(layers, oncall.Layer{People: []oncall.Member{*h.Person}})
	}
	for _, l := range layers {
		for _, m := range l.People {
			if who, known := p.persons[m.Key]; known && len(who.Ways) == 0 && !p.broken[m.Key] {
				one := m.At.Problem(m.Key+" is on call here and has no way to be reached", "give people: "+m.Key+": ways: [a receiver]")
				if !slices.Contains(problems, one) {
					problems = append(problems, one)
				}
			}
		}
	}
	return problems
}

// calls says whether an escalation asks who is on call.
func (t *Team) calls() bool {
	return t.Schedule != "" && slices.ContainsFunc(t.Escalation, func(s EscalationStep) bool {
		return slices.ContainsFunc(s.To, func(m oncall.Member) bool { return m.Key == toPrimary || m.Key == toSecondary })
	})
}

// named lists everybody whom a team's escalation calls by name, or as its member or manager.
func (t *Team) named() []string {
	var all []string
	for _, m := range t.Members {
		all = append(all, m.Key)
	}
	if t.Manager != nil {
		all = append(all, t.Manager.Key)
	}
	for _, s := range t.Escalation {
		for _, m := range s.To {
			if !slices.Contains(stepWords(), m.Key) {
				all = append(all, m.Key)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// stepWords are the words of an escalation that are no people.
func stepWords() []string { return []string{toPrimary, toSecondary, toTeam, toManager, toReceiver} }
