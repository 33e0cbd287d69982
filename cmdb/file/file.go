// Package file is the CMDB source that reads targets from YAML and JSON files.
//
// In: one file, a directory or a glob of files with classes and targets. Out: the targets, or every mistake in the files
// with its place.
// It promises that a change, also of a directory that was away meanwhile, is seen within a second where the operating
// system tells of changes, and within half a minute where it does not, such as on network file systems.
// It never writes a file and never returns targets of files that have a mistake.
package file

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
)

// Config is `file: {path: targets/*.yaml}`.
type Config struct {
	// Path is a file, a directory (its *.yaml, *.yml and *.json) or a glob as path/filepath knows it.
	Path source.Text
}

// Default is the configuration before the file is read: there is no default path.
func Default() Config { return Config{} }

// Validate implements conf.Validator.
func (c Config) Validate() []conf.Complaint {
	if c.Path.Text == "" {
		return []conf.Complaint{{Field: "path", What: "the file source has no path", Do: "name a file, a directory or a glob, such as path: targets/*.yaml"}}
	}
	if _, err := filepath.Match(c.Path.Text, ""); err != nil {
		return []conf.Complaint{{Field: "path", What: fmt.Sprintf("%q is not a glob", c.Path.Text), Do: `close the bracket, or write \[ where one is meant`}}
	}
	return nil
}

// Source reads the files of one path.
type Source struct {
	conf Config
	env  source.Env
	path string // made relative to Env.Dir

	mu     sync.Mutex
	listed print // of what List read last
}

// New makes the source; it reads nothing yet.
func New(c Config, env source.Env) *Source {
	path := c.Path.Text
	if !filepath.IsAbs(path) {
		path = filepath.Join(env.Dir, path)
	}
	return &Source{conf: c, env: env, path: path}
}

// Name implements source.Source.
func (s *Source) Name() string { return "file:" + s.conf.Path.Text }

// List implements source.Source.
func (s *Source) List(ctx context.Context) ([]source.Found, conf.Problems) {
	names, err := s.files()
	if err != nil {
		s.setListed(print{}) // Else files that come back as they were would be no change.
		return nil, conf.Problems{s.conf.Path.At.Problem(fmt.Sprintf("the targets in %s cannot be found: %s", s.path, err), "correct the path, or create the file")}
	}
	contents := map[string][]byte{}
	var problems conf.Problems
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			problems = append(problems, conf.Problem{File: name, What: "the file cannot be read: " + reason(err), Do: "make it readable for the user that runs kemi"})
			continue
		}
		contents[name] = data
	}
	s.setListed(printOf(contents))
	if len(problems) > 0 || ctx.Err() != nil {
		return nil, problems
	}
	return read(names, contents, &s.env.Judge)
}

func (s *Source) setListed(p print) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = p
}

// reason says why a file could not be opened, without its name.
func reason(err error) string {
	if inner, ok := err.(*os.PathError); ok {
		return inner.Err.Error()
	}
	return err.Error()
}

// files lists the files of the path, sorted. It is an error when there is none.
func (s *Source) files() ([]string, error) {
	if info, err := os.Stat(s.path); err == nil {
		if !info.IsDir() {
			return []string{s.path}, nil
		}
		return inDirectory(s.path)
	} else if !isGlob(s.path) {
		return nil, fmt.Errorf("%s", reason(err))
	}
	names, err := filepath.Glob(s.path)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Stat(name)
		return err == nil && info.IsDir() || hidden(name)
	})
	if len(names) == 0 {
		return nil, fmt.Errorf("no file matches")
	}
	return names, nil
}

func inDirectory(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%s", reason(err))
	}
	var names []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch filepath.Ext(name) {
		case ".yaml", ".yml", ".json":
		default:
			continue
		}
		// Stat, because the entries of a mounted ConfigMap are symbolic links.
		if info, err := os.Stat(name); hidden(name) || err == nil && info.IsDir() {
			continue
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the directory has no .yaml, .yml or .json file")
	}
	return names, nil
}

// hidden files are the editors' and the operating system's.
func hidden(name string) bool { return strings.HasPrefix(filepath.Base(name), ".") }

func isGlob(path string) bool { return strings.ContainsAny(path, "*?[") }

// print tells one content of all files from another.
type print [sha256.Size]byte

func printOf(contents map[string][]byte) print {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		fmt.Fprintf(h, "%q %d\n", name, len(contents[name]))
		h.Write(contents[name])
	}
	return print(h.Sum(nil))
}
