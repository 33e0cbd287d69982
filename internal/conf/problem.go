package conf

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Problem is one mistake in a configuration file. Line and Column count from 1 and are 0 when the mistake has no place
// in the file (for example when there is no file). What says what is wrong, Do says what to do about it.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	What   string `json:"what"`
	Do     string `json:"do,omitempty"`
}

// String returns "file:line:column: what: do" and leaves out the parts that are not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			b.WriteString(":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column))
		}
		b.WriteString(": ")
	}
	b.WriteString(p.What)
	if p.Do != "" {
		b.WriteString(": " + p.Do)
	}
	return b.String()
}

// Problems are all the mistakes found; it is an error when it is not empty, see Err.
type Problems []Problem

// Err returns nil when there is no problem and the problems, sorted, otherwise.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p.sorted()
}

// Error returns one line for each problem, sorted by file, line and column.
func (p Problems) Error() string {
	lines := make([]string, 0, len(p))
	for _, one := range p.sorted() {
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "\n")
}

// Sorted returns the problems by file, line and column, each once; never nil.
func (p Problems) Sorted() Problems {
	if len(p) == 0 {
		return Problems{}
	}
	return p.sorted()
}

// sorted returns a sorted copy in which no problem is said twice.
func (p Problems) sorted() Problems {
	if len(p) == 0 {
		return nil
	}
	out := slices.Clone(p)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	seen := make(map[Problem]bool, len(out))
	return slices.DeleteFunc(out, func(one Problem) bool {
		was := seen[one]
		seen[one] = true
		return was
	})
}

// Pos is a place in a configuration file. A struct with a field of type Pos gets its own place there when it is decoded,
// so that checks across files can say later where the thing was written.
type Pos struct {
	File         string
	Line, Column int
}

// Problem returns a problem at this place.
func (p Pos) Problem(what, do string) Problem {
	return Problem{File: p.File, Line: p.Line, Column: p.Column, What: what, Do: do}
}

// Path is where a file is that is named at this place: relative paths begin at the folder of the configuration file.
func (p Pos) Path(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(filepath.Dir(p.File), file)
}

// ReadFile reads a file that is named at this place, or says with its path what is wrong and what helps.
func (p Pos) ReadFile(file string) (text []byte, what, do string) {
	path := p.Path(file)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, path + ": there is no such file", "check the path: it is relative to the configuration file"
	case err != nil:
		what, do = fileTrouble(err)
		return nil, path + ": " + what, do
	}
	return text, "", ""
}

// Complaint is what a Validate method says about its own struct. Field is the path below the struct as it is written in
// the file, for example "path", "expect.status" or "checks.0.every"; an empty Field means the struct as a whole.
type Complaint struct {
	Field    string
	What, Do string
}
