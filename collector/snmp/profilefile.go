package snmp

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// profileFile is a profile as it is written; see the package comment.
type profileFile struct {
	conf.Pos
	Help    string
	Extends string
	Scalars []columnConf
	Tables  []tableConf
}

type tableConf struct {
	Name    string
	Labels  []labelConf
	Columns []columnConf
	MaxRows int `yaml:"max_rows"`
}

type labelConf struct {
	Name     string
	OID      oidConf
	Else     oidConf
	Optional bool
}

type columnConf struct {
	Name  string
	OID   oidConf
	Kind  string
	Unit  string
	Scale float64
	Enum  map[string]string
}

// oidConf is an object identifier in dotted form.
type oidConf struct{ oid oid }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *oidConf) UnmarshalText(text []byte) (err error) {
	o.oid, err = parseOID(string(text))
	return err
}

const (
	defaultMaxRows = 10_000
	mostMaxRows    = 100_000
)

// SetDefaults implements conf.Defaulter.
func (t *tableConf) SetDefaults() { t.MaxRows = defaultMaxRows }

// Validate implements conf.Validator.
func (f *profileFile) Validate() (all []conf.Complaint) {
	if f.Extends == "" && len(f.Scalars) == 0 && len(f.Tables) == 0 {
		all = append(all, conf.Complaint{What: "the profile reads nothing", Do: "add scalars or tables, or extend another profile"})
	}
	for i, s := range f.Scalars {
		if n := len(s.OID.oid); n > 0 && s.OID.oid[n-1] != 0 {
			all = append(all, conf.Complaint{Field: fmt.Sprintf("scalars.%d.oid", i), What: "the object identifier of a scalar ends in .0", Do: "add .0, or make it a column of a table"})
		}
	}
	return all
}

// Validate implements conf.Validator.
func (t *tableConf) Validate() (all []conf.Complaint) {
	all = append(all, goodName("name", t.Name)...)
	if len(t.Columns) == 0 {
		all = append(all, conf.Complaint{Field: "columns", What: "the table has no columns", Do: "add what is to be read"})
	}
	if !slices.ContainsFunc(t.Labels, func(l labelConf) bool { return l.OID.oid == nil }) {
		all = append(all, conf.Complaint{Field: "labels", What: "no label carries the index of the rows, so that two rows may look the same", Do: "add a label without oid, like {name: ifIndex}"})
	}
	if t.MaxRows < 1 || t.MaxRows > mostMaxRows {
		all = append(all, conf.Complaint{Field: "max_rows", What: fmt.Sprintf("max_rows is %d", t.MaxRows), Do: fmt.Sprintf("use 1 to %d", mostMaxRows)})
	}
	seen := map[string]bool{}
	for i, l := range t.Labels {
		if seen[l.Name] {
			all = append(all, conf.Complaint{Field: fmt.Sprintf("labels.%d.name", i), What: "the table has two labels " + l.Name, Do: "rename one of them"})
		}
		seen[l.Name] = true
	}
	return all
}

// Validate implements conf.Validator.
func (l *labelConf) Validate() (all []conf.Complaint) {
	all = append(all, goodName("name", l.Name)...)
	if l.Else.oid != nil && l.OID.oid == nil {
		all = append(all, conf.Complaint{Field: "else", What: "else without oid", Do: "give oid, and else what is read where it is empty"})
	}
	if l.Optional && l.OID.oid == nil {
		all = append(all, conf.Complaint{Field: "optional", What: "the index is never empty", Do: "leave optional out"})
	}
	return all
}

// Validate implements conf.Validator.
func (c *columnConf) Validate() (all []conf.Complaint) {
	all = append(all, goodName("name", c.Name)...)
	if c.OID.oid == nil {
		all = append(all, conf.Complaint{Field: "oid", What: "oid is missing", Do: "give the object identifier in numbers, like 1.3.6.1.2.1.2.2.1.8"})
	}
	if !slices.Contains(columnKinds(), c.Kind) {
		do := "use one of " + strings.Join(columnKinds(), ", ")
		if near := conf.Nearest(c.Kind, columnKinds()); near != "" {
			do = fmt.Sprintf("did you mean %q?", near)
		}
		all = append(all, conf.Complaint{Field: "kind", What: fmt.Sprintf("unknown kind of column %q", c.Kind), Do: do})
	}
	if c.Kind != string(event.Gauge) && c.Scale != 0 {
		all = append(all, conf.Complaint{Field: "scale", What: "only gauges are scaled: counters are published as they are", Do: "leave scale out"})
	}
	if math.IsNaN(c.Scale) || math.IsInf(c.Scale, 0) {
		all = append(all, conf.Complaint{Field: "scale", What: "scale is no number", Do: "use a number, like 0.1"})
	}
	if c.Kind == string(event.Text) && c.Unit != "" {
		all = append(all, conf.Complaint{Field: "unit", What: "text has no unit", Do: "leave unit out"})
	}
	return all
}

// goodName holds a name to what may name a metric or a label.
func goodName(field, name string) []conf.Complaint {
	bad := func(i int, r rune) bool {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (i == 0 || r < '0' || r > '9')
	}
	if name == "" {
		return []conf.Complaint{{Field: field, What: "name is missing", Do: "give the name of the MIB object"}}
	}
	for i, r := range name {
		if bad(i, r) {
			return []conf.Complaint{{Field: field, What: fmt.Sprintf("%q cannot be a name", name), Do: "use letters, digits and _, and no digit first"}}
		}
	}
	return nil
}

func (c *columnConf) spec() columnSpec {
	spec := columnSpec{name: c.Name, oid: c.OID.oid, kind: event.ColumnKind(c.Kind), unit: c.Unit, scale: c.Scale, enum: c.Enum}
	if inverse := math.Round(1 / c.Scale); c.Scale > 0 && c.Scale < 1 && 1/inverse == c.Scale {
		spec.scale, spec.divide = 0, inverse
	}
	return spec
}

func (t *tableConf) plan() tablePlan {
	p := tablePlan{name: t.Name, maxRows: t.MaxRows}
	for _, c := range t.Columns {
		p.columns = append(p.columns, c.spec())
	}
	for _, l := range t.Labels {
		spec := labelSpec{name: l.Name, optional: l.Optional}
		if l.OID.oid != nil {
			spec.column = &columnSpec{name: l.Name, oid: l.OID.oid, kind: event.Text}
		}
		if l.Else.oid != nil {
			spec.instead = &columnSpec{name: l.Name, oid: l.Else.oid, kind: event.Text}
		}
		p.labels = append(p.labels, spec)
	}
	return p
}
