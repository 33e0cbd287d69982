package snmp

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/profile"
	"kemi.dev/kemi/internal/conf"
)

//go:embed profiles/*.yaml
var shipped embed.FS

// plan is a compiled profile: what to read.
type plan struct {
	name, help string
	// singles are the scalars, by the profile that names them.
	singles []singlePlan
	tables  []tablePlan
}

type singlePlan struct {
	table   string
	columns []columnSpec
}

type tablePlan struct {
	name    string
	labels  []labelSpec
	columns []columnSpec
	maxRows int
}

// labelSpec is a label of the rows: their index, or a column of text.
type labelSpec struct {
	name string
	// column is the text, and instead what is read where it is empty; nil for the index.
	column, instead *columnSpec
	optional        bool
}

// profiles is a set of compiled profiles by name.
type profiles map[string]*plan

// loadProfiles reads the shipped profiles and then those of a folder ("" is none), which may extend and replace them.
func loadProfiles(folder string) (profiles, conf.Problems) {
	files := map[string]profileFile{}
	problems := readProfiles(shipped, "profiles", "profiles", files)
	if folder != "" {
		problems = append(problems, readProfiles(os.DirFS(folder), ".", folder, files)...)
	}
	set := profiles{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p, more := compile(name, files, nil)
		problems = append(problems, more...)
		if p != nil {
			set[name] = p
		}
	}
	return set, problems
}

// readProfiles reads every .yaml file of dir in fsys; shown is the folder's name in problems.
func readProfiles(fsys fs.FS, dir, shown string, into map[string]profileFile) (problems conf.Problems) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return conf.Problems{{File: shown, What: "the folder of profiles cannot be read (" + err.Error() + ")", Do: "give a folder that exists, or leave it out"}}
	}
	for _, e := range entries {
		name, yaml := strings.CutSuffix(e.Name(), ".yaml")
		if e.IsDir() || !yaml {
			continue
		}
		file := path.Join(shown, e.Name())
		data, err := fs.ReadFile(fsys, path.Join(dir, e.Name()))
		if err != nil {
			problems = append(problems, conf.Problem{File: file, What: "the profile cannot be read (" + err.Error() + ")", Do: "make it readable"})
			continue
		}
		nodes, more := conf.ParseRaw(file, data)
		problems = append(problems, more...)
		if len(nodes) == 0 {
			continue
		}
		var f profileFile
		problems = append(problems, nodes[0].Into(&f)...)
		into[name] = f
	}
	return problems
}

// compile turns a profile and what it extends into a plan. above are the names on the way to it.
func compile(name string, files map[string]profileFile, above []string) (*plan, conf.Problems) {
	f := files[name]
	p := &plan{name: name, help: f.Help}
	var problems conf.Problems
	if parent := f.Extends; parent != "" {
		_, known := files[parent]
		switch {
		case !known:
			do := "the profiles are " + strings.Join(slices.Sorted(maps.Keys(files)), ", ")
			if near := conf.Nearest(parent, slices.Collect(maps.Keys(files))); near != "" {
				do = fmt.Sprintf("did you mean %q?", near)
			}
			return nil, append(problems, f.Pos.Problem(fmt.Sprintf("profile %s extends %q, which does not exist", name, parent), do))
		case slices.Contains(above, parent) || parent == name:
			return nil, append(problems, f.Pos.Problem(fmt.Sprintf("profile %s extends itself by way of %s", name, parent), "break the circle"))
		}
		base, more := compile(parent, files, append(above, name))
		if base == nil {
			return nil, append(problems, more...)
		}
		p.singles, p.tables = slices.Clone(base.singles), slices.Clone(base.tables)
	}
	if len(f.Scalars) > 0 {
		s := singlePlan{table: name}
		for _, c := range f.Scalars {
			s.columns = append(s.columns, c.spec())
		}
		p.singles = append(p.singles, s)
	}
	for _, t := range f.Tables {
		compiled := t.plan()
		if i := slices.IndexFunc(p.tables, func(o tablePlan) bool { return o.name == t.Name }); i >= 0 {
			p.tables[i] = compiled // A table of the same name replaces that of the parent.
		} else {
			p.tables = append(p.tables, compiled)
		}
	}
	return p, append(problems, p.clashes(f.Pos)...)
}

// clashes finds names that two parts of the plan use: they would be one metric.
func (p *plan) clashes(at conf.Pos) (problems conf.Problems) {
	tables, columns := map[string]bool{}, map[string]string{}
	see := func(table string, specs []columnSpec) {
		if tables[table] {
			problems = append(problems, at.Problem(fmt.Sprintf("the table %s is there twice (scalars are the table %s)", table, table), "rename one of them"))
		}
		tables[table] = true
		for _, c := range specs {
			if other, taken := columns[c.name]; taken {
				problems = append(problems, at.Problem(fmt.Sprintf("%s is read in %s and in %s", c.name, other, table), "leave one of them out"))
			}
			columns[c.name] = table
		}
	}
	for _, s := range p.singles {
		see(s.table, s.columns)
	}
	for _, t := range p.tables {
		see(t.name, t.columns)
	}
	return problems
}

// public gives the plan as others may read it.
func (p *plan) public() profile.Profile {
	out := profile.Profile{Name: p.name, Help: p.help}
	columns := func(specs []columnSpec) (cs []profile.Column) {
		for _, c := range specs {
			cs = append(cs, profile.Column{Name: c.name, Kind: string(c.kind), Unit: c.unit, Enum: c.enum})
		}
		return cs
	}
	for _, s := range p.singles {
		out.Tables = append(out.Tables, profile.Table{Name: s.table, Single: true, Columns: columns(s.columns)})
	}
	for _, t := range p.tables {
		table := profile.Table{Name: t.name, Columns: columns(t.columns)}
		for _, l := range t.labels {
			table.Labels = append(table.Labels, l.name)
		}
		out.Tables = append(out.Tables, table)
	}
	return out
}

// Profiles lists what the shipped profiles read, sorted by name.
func Profiles() []profile.Profile {
	set, _ := loadProfiles("") // A test holds that they have no problems.
	return set.public()
}

func (s profiles) public() []profile.Profile {
	all := make([]profile.Profile, 0, len(s))
	for _, name := range slices.Sorted(maps.Keys(s)) {
		all = append(all, s[name].public())
	}
	return all
}

// columnKinds lists the kinds that a column of a profile may be of.
func columnKinds() []string {
	return []string{string(event.Counter), string(event.Gauge), string(event.Text)}
}
