// Package conf reads configuration. In: YAML (or JSON, its subset) from files or bytes. Out: Go structs, filled strictly,
// or Problems, each with file, line, column, what is wrong and what to do. It promises to find every mistake at once, to
// name the nearest known key for an unknown one, and to keep secrets out of everything that is printed. It never guesses:
// an unknown key, a key given twice or a value of the wrong kind is a Problem, not a default.
//
// A struct says what it reads by its fields: the tag `yaml:"name"` names the key (an exported field without it has its
// own name in lower case, "-" means none), `yaml:",inline"` on a struct reads its fields from the same mapping, and
// `yaml:",inline"` on a Node collects the keys nobody else wants, for a plug-in to judge. A field whose key is absent
// keeps its value, so a default is whatever the field held before. Lists and maps are replaced, never merged; a fresh
// element that has a method SetDefaults() on its pointer gets it called first. A null leaves a struct at its defaults and
// makes a pointer, map, list or any nil; for everything else it is a mistake.
package conf

import (
	"errors"
	"io/fs"
	"os"
)

// Parse reads all documents of a file, with ${NAME} and ${NAME:-default} in values replaced from the environment and $$
// by a dollar. Without a syntax error there is at least one Node, which is Null for an empty file. The nodes are usable
// even when there are problems, so that a caller can go on and collect more.
func Parse(file string, data []byte) ([]Node, Problems) {
	return parse(file, data, os.LookupEnv)
}

// ParseRaw is Parse for files in which dollars mean something of their own, such as rule files: it expands nothing.
func ParseRaw(file string, data []byte) ([]Node, Problems) {
	return parse(file, data, nil)
}

// Load reads the first document of a file. That the file is missing or holds a second document is a problem.
func Load(path string) (Node, Problems) {
	data, err := os.ReadFile(path)
	if err != nil {
		what, do := fileTrouble(err)
		return Node{}, Problems{{File: path, What: what, Do: do}}
	}
	nodes, problems := Parse(path, data)
	if len(nodes) == 0 {
		return Node{}, problems
	}
	for _, more := range nodes[1:] {
		if more.Kind() != Null {
			problems = append(problems, more.Problem("a second document would be ignored", "remove the --- line before it or move it to a file of its own"))
		}
	}
	return nodes[0], problems.sorted()
}

// fileTrouble says why a file could not be read and what helps.
func fileTrouble(err error) (what, do string) {
	var inner *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file", "check the path, or create the file"
	case errors.Is(err, fs.ErrPermission):
		return "the file may not be read", "give the user that runs kemi permission to read it"
	case errors.As(err, &inner):
		return "the file cannot be read (" + inner.Err.Error() + ")", "give the path of a readable file"
	default:
		return "the file cannot be read (" + err.Error() + ")", "give the path of a readable file"
	}
}
