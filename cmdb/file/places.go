package file

import (
	"io/fs"
	"os"
	"path/filepath"
)

// places are the directories in which a change can change the answer of List: those that hold the files, and those that
// lead to them, because any of these may be moved away and another be put there. A directory that is missing is thereby
// awaited in the nearest one that exists.
type places struct {
	dirs   []*spot
	byPath map[string]*spot // nil for what is no directory
	seen   map[string]bool
}

// spot is a directory that is there.
type spot struct {
	path string
	info fs.FileInfo
	// all: every change in it matters; else only those of names.
	all   bool
	names map[string]bool
}

// places finds them for the path as it is now.
func (s *Source) places() *places {
	p := &places{byPath: map[string]*spot{}, seen: map[string]bool{}}
	// Absolute, because the way to a relative path does not end where the path does.
	path, err := filepath.Abs(s.path)
	if err != nil {
		path = s.path
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		p.within(path)
	}
	p.leadingTo(path)
	// Every level of a glob may grow directories.
	if isGlob(path) {
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			if !isGlob(dir) {
				p.within(dir)
				break
			}
			matches, _ := filepath.Glob(dir) // The pattern was judged by Validate.
			for _, m := range matches {
				p.within(m)
			}
		}
	}
	// A file that is a symbolic link may be changed where it points to, and may point to nothing now.
	names, _ := s.files()
	for _, name := range names {
		if abs, err := filepath.Abs(name); err == nil {
			p.leadingTo(abs)
		}
	}
	return p
}

// within adds a directory of which every change matters, and the way to it.
func (p *places) within(dir string) {
	if at := p.at(dir); at != nil {
		at.all = true
	}
	p.leadingTo(dir)
}

// leadingTo adds what is on the way to path, also where that leads through symbolic links.
func (p *places) leadingTo(path string) {
	for parent := filepath.Dir(path); parent != path && !p.seen[path]; path, parent = parent, filepath.Dir(parent) {
		p.seen[path] = true // Links that go round in a circle end here.
		at := p.at(parent)
		if at == nil {
			continue
		}
		at.names[filepath.Base(path)] = true
		to, err := os.Readlink(path)
		if err != nil {
			continue // It is no link, or not there.
		}
		if !filepath.IsAbs(to) {
			if real, err := filepath.EvalSymlinks(parent); err == nil {
				to = filepath.Join(real, to)
			} else {
				to = filepath.Join(parent, to)
			}
		}
		p.leadingTo(filepath.Clean(to))
	}
}

// at returns the spot of a directory, which may be known by another path; nil when there is none.
func (p *places) at(dir string) *spot {
	one, known := p.byPath[dir]
	if !known {
		one = p.find(dir)
		p.byPath[dir] = one
	}
	return one
}

func (p *places) find(dir string) *spot {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return nil
	}
	for _, one := range p.dirs {
		if os.SameFile(one.info, info) {
			return one
		}
	}
	one := &spot{path: dir, info: info, names: map[string]bool{}}
	p.dirs = append(p.dirs, one)
	return one
}

// matters reports whether a change of what has this name can change the answer of List.
func (p *places) matters(name string) bool {
	if p.byPath[name] != nil {
		return true // The directory itself was moved or removed.
	}
	in := p.byPath[filepath.Dir(name)]
	return in != nil && (in.all || in.names[filepath.Base(name)])
}
