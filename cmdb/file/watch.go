package file

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long nothing may happen before the files are read: editors and tools write in several steps.
	quiet = 200 * time.Millisecond
	// patience bounds the wait for quiet when something happens all the time.
	patience = time.Second
	// slowPoll finds what the operating system does not tell, such as changes on network file systems.
	slowPoll = 30 * time.Second
)

// Watch implements source.Source. It watches directories, not files, because files are replaced: by editors, and by
// the symbolic links of a mounted ConfigMap.
func (s *Source) Watch(ctx context.Context, changed func()) error {
	var events <-chan fsnotify.Event
	var troubles <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		s.env.Scope.Log().Warn("watch for changes, now only every 30 s", "source", s.Name(), "err", err)
	} else {
		defer watcher.Close()
		events, troubles = watcher.Events, watcher.Errors
	}
	look := func() {
		if watcher != nil {
			s.follow(watcher)
		}
		if now, ok := s.print(); !ok || now != s.lastListed() {
			changed()
		}
	}
	look()

	slow := time.NewTicker(slowPoll)
	defer slow.Stop()
	settle := time.NewTimer(0)
	settle.Stop()
	defer settle.Stop()
	var since time.Time // of the first event that was not yet looked at
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			now := time.Now()
			if since.IsZero() {
				since = now
			}
			settle.Reset(min(quiet, max(0, patience-now.Sub(since))))
		case err, ok := <-troubles:
			if !ok {
				troubles = nil
				continue
			}
			// An overflow means that events were lost: look at once.
			s.env.Scope.Log().Warn("watch for changes", "source", s.Name(), "err", err)
			settle.Reset(0)
		case <-settle.C:
			since = time.Time{}
			look()
		case <-slow.C:
			look()
		}
	}
}

func (s *Source) lastListed() print {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listed
}

// print reads what List would read; ok is false when that is not possible now.
func (s *Source) print() (p print, ok bool) {
	names, err := s.files()
	if err != nil {
		return print{}, false
	}
	contents := make(map[string][]byte, len(names))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return print{}, false
		}
		contents[name] = data
	}
	return printOf(contents), true
}

// follow watches the directories that matter now, and no others.
func (s *Source) follow(w *fsnotify.Watcher) {
	want, watched := s.directories(), w.WatchList()
	for _, dir := range watched {
		if !slices.Contains(want, dir) {
			_ = w.Remove(dir) // It may have gone by itself.
		}
	}
	for _, dir := range want {
		if slices.Contains(watched, dir) {
			continue
		}
		if err := w.Add(dir); err != nil {
			s.env.Scope.Log().Warn("watch a directory, its changes are found only every 30 s", "source", s.Name(), "dir", dir, "err", err)
		}
	}
}

// directories lists the directories in which a change can change the answer of List.
func (s *Source) directories() []string {
	var dirs []string
	add := func(dir string) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	if info, err := os.Stat(s.path); err == nil && info.IsDir() {
		add(s.path)
	}
	// Every level of a glob may grow directories; the fixed part before it may be replaced as a whole.
	for dir := filepath.Dir(s.path); ; dir = filepath.Dir(dir) {
		if !isGlob(dir) {
			add(dir)
			break
		}
		matches, _ := filepath.Glob(dir) // The pattern was judged by Validate.
		for _, m := range matches {
			add(m)
		}
	}
	// A file that is a symbolic link may be changed where it points to.
	if names, err := s.files(); err == nil {
		for _, name := range names {
			if real, err := filepath.EvalSymlinks(name); err == nil && real != name {
				add(filepath.Dir(real))
			}
		}
	}
	return dirs
}
