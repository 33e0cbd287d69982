package file

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
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
	e := &eyes{Watcher: watcher, refused: map[string]bool{}}
	look := func() {
		if watcher != nil {
			s.follow(e)
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
		case event, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if !e.places.matters(event.Name) {
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

// eyes are the directories that are watched.
type eyes struct {
	*fsnotify.Watcher
	places *places
	// on is what is watched, by path: another directory may be put where one was.
	on map[string]fs.FileInfo
	// refused are the directories that cannot be watched, so that each is told once.
	refused map[string]bool
}

// follow watches the places that matter now, and no others.
func (s *Source) follow(e *eyes) {
	// What changes before a directory is watched is not told: look again until there was no new one.
	for again, rounds := true, 0; again && rounds < 10; rounds++ {
		again = false
		e.places = s.places()
		want := make(map[string]fs.FileInfo, len(e.places.dirs))
		for _, one := range e.places.dirs {
			want[one.path] = one.info
		}
		watched := map[string]bool{}
		for _, dir := range e.WatchList() { // Without those that have gone by themselves.
			if info := want[dir]; info != nil && os.SameFile(info, e.on[dir]) {
				watched[dir] = true
				continue
			}
			_ = e.Remove(dir) // It may have gone meanwhile.
		}
		e.on = want
		for _, one := range e.places.dirs {
			if watched[one.path] {
				continue
			}
			err := e.Add(one.path)
			if again = again || err == nil || errors.Is(err, fs.ErrNotExist); err == nil {
				delete(e.refused, one.path)
			} else if !e.refused[one.path] && !errors.Is(err, fs.ErrNotExist) {
				e.refused[one.path] = true
				level := slog.LevelWarn
				if !one.all && errors.Is(err, fs.ErrPermission) {
					level = slog.LevelDebug // Such as /home, which may be passed through but not read, and which stays.
				}
				s.env.Scope.Log().Log(context.Background(), level, "watch a directory, its changes are found only every 30 s",
					"source", s.Name(), "dir", one.path, "err", err)
			}
		}
	}
}
