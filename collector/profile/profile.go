// Package profile says in plain structs what profiles read, for whoever draws or documents it.
//
// In: nothing. Out: Profile, with tables, labels, columns and units.
// It promises to name tables, labels and columns exactly as Readings do.
// It never says how the values are read.
package profile

// Profile is what one profile reads, with what it inherits.
type Profile struct {
	Name string `json:"name"`
	// Help is one sentence for people.
	Help   string  `json:"help,omitempty"`
	Tables []Table `json:"tables"`
}

// Table is a table of the Readings that the profile makes.
type Table struct {
	Name string `json:"name"`
	// Single says that the table has one row and no labels.
	Single  bool     `json:"single,omitempty"`
	Labels  []string `json:"labels,omitempty"`
	Columns []Column `json:"columns"`
}

// Column is a column of the table; Kind is "counter", "gauge" or "text", Unit a base unit or empty.
type Column struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Unit string `json:"unit,omitempty"`
	// Enum names the values of a gauge that is an enumeration.
	Enum map[string]string `json:"enum,omitempty"`
}
