package dashboards

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/profile"
)

// The kinds of column; they are those of Readings.
const (
	kindCounter = string(event.Counter)
	kindGauge   = string(event.Gauge)
	kindText    = string(event.Text)
)

// group is what is drawn in one panel: a column, or a pair of them.
type group struct {
	first profile.Column
	// out is the other direction of first, which is then the incoming one.
	out profile.Column
	// size is what first is a part of.
	size profile.Column
	// hidden columns are shown in the table only.
	hidden bool
}

// groups pairs the numeric columns of a table: …In… with …Out…, …Used with …Size. Text is no series.
func groups(t profile.Table) []group {
	columns := numeric(t)
	taken := map[string]bool{}
	find := func(name, kind string) profile.Column {
		i := slices.IndexFunc(columns, func(c profile.Column) bool { return c.Name == name && c.Kind == kind })
		if i < 0 || taken[name] {
			return profile.Column{}
		}
		return columns[i]
	}
	var all []group
	for _, c := range columns {
		g := group{first: c}
		if len(c.Enum) == 0 && strings.Contains(c.Name, "In") {
			g.out = find(strings.Replace(c.Name, "In", "Out", 1), c.Kind)
		}
		if base, used := strings.CutSuffix(c.Name, "Used"); used {
			g.size = find(base+"Size", c.Kind)
		}
		g.hidden = constant(t, c)
		taken[g.out.Name], taken[g.size.Name] = true, true
		all = append(all, g)
	}
	return slices.DeleteFunc(all, func(g group) bool { return taken[g.first.Name] })
}

// constant reports whether a column hardly changes or is a setting: it is a number to look up, not a curve.
func constant(t profile.Table, c profile.Column) bool {
	if strings.HasSuffix(c.Name, "AllocationUnits") || bitsPerSecond(c.Unit) != "" && strings.HasSuffix(c.Name, "Speed") {
		return true
	}
	base, admin := strings.CutSuffix(c.Name, "AdminStatus")
	return admin && slices.ContainsFunc(t.Columns, func(o profile.Column) bool { return o.Name == base+"OperStatus" })
}

func numeric(t profile.Table) []profile.Column {
	return slices.DeleteFunc(slices.Clone(t.Columns), func(c profile.Column) bool { return c.Kind == kindText })
}

// title names the panel of a group.
func (g group) title() string {
	switch {
	case g.out.Name != "" && isOctets(g.first):
		return "Traffic"
	case g.out.Name != "":
		return sentence(strings.Replace(g.first.Name, "In", "", 1))
	}
	return sentence(g.first.Name)
}

// keyLabel is the label by which people know a row: a name, else a description, else the first.
func keyLabel(t profile.Table) string {
	for _, suffix := range []string{"Name", "name", "Descr", "descr"} {
		for _, l := range t.Labels {
			if strings.HasSuffix(l, suffix) {
				return l
			}
		}
	}
	return t.Labels[0]
}

// slugName turns a table's name into a variable's: one row of it, in letters and digits.
func slugName(table string) string {
	name := strings.ReplaceAll(slug(table), "-", "_")
	if one := strings.TrimSuffix(name, "s"); one != "" && !strings.HasSuffix(one, "s") {
		name = one
	}
	return name
}

// sentence makes words of a MIB name: ifInUcastPkts becomes "In unicast packets". The lower-case beginning of a name is
// its MIB's prefix, HC only says that a counter is wide.
func sentence(name string) string {
	words := split(name)
	if len(words) > 1 && len(words[0]) <= 4 && strings.ToLower(words[0]) == words[0] && unicode.IsUpper(rune(name[len(words[0])])) {
		words = words[1:]
	}
	words = slices.DeleteFunc(words, func(w string) bool { return w == "HC" })
	plain := map[string]string{
		"Ucast": "unicast", "Mcast": "multicast", "Pkts": "packets", "Descr": "description",
		"Num": "number of", "Temp": "temperature", "Util": "utilisation", "Cpu": "CPU", "Mem": "memory",
	}
	for i, w := range words {
		if full, ok := plain[w]; ok {
			words[i] = full
		} else if w != strings.ToUpper(w) {
			words[i] = strings.ToLower(w)
		}
	}
	s := strings.Join(words, " ")
	if s == "up time" {
		s = "uptime"
	}
	if s == "" {
		return name
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// split cuts a name where a capital begins a word, or an underscore stands.
func split(name string) []string {
	var words []string
	word := ""
	runes := []rune(name)
	for i, r := range runes {
		after := i > 0 && !unicode.IsUpper(runes[i-1])
		before := i > 0 && i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if r == '_' || r == '-' || unicode.IsUpper(r) && (after || before) {
			if word != "" {
				words = append(words, word)
			}
			word = ""
		}
		if r != '_' && r != '-' {
			word += string(r)
		}
	}
	if word != "" {
		words = append(words, word)
	}
	return words
}

// enumeration colors the values of a column: up is green, what needs a look is orange or red.
func enumeration(c profile.Column) []mapping {
	if len(c.Enum) == 0 {
		return nil
	}
	m := mapping{"value", map[string]mappingResult{}}
	values := slices.SortedFunc(maps.Keys(c.Enum), func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	})
	for i, v := range values {
		m.Options[v] = mappingResult{c.Enum[v], shade(c.Enum[v]), i}
	}
	return []mapping{m}
}

func shade(state string) string {
	switch strings.ToLower(state) {
	case "up", "ok", "running", "normal", "on", "active", "online":
		return "green"
	case "down", "failed", "error", "critical", "lowerlayerdown", "shutdown":
		return "red"
	case "testing", "warning", "degraded", "dormant":
		return "orange"
	case "unknown", "notpresent", "off", "other":
		return "#808080"
	}
	return "blue"
}
