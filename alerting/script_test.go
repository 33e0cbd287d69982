package alerting

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the scripts say into them")

// commands reads a script: its commands, and its text with comments but without what was said.
func commands(t *testing.T, file string) (lines []string, text []byte) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		if !strings.HasPrefix(sc.Text(), " ") {
			lines = append(lines, sc.Text())
		}
	}
	return lines, data
}

func isCommand(line string) bool { return line != "" && !strings.HasPrefix(line, "#") }

func play(t *testing.T, lines []string, restartBefore int, l loss) *stage {
	s := newStage(t, DefaultPolicy())
	n := 0
	for _, line := range lines {
		if !isCommand(line) {
			fmt.Fprintln(&s.said, line)
			continue
		}
		if n == restartBefore {
			s.lose(l)
			s.restart()
		}
		n++
		fmt.Fprintln(&s.said, line)
		s.do(line)
	}
	return s
}

func scripts(t *testing.T) []string {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	return files
}

// The scripts say what happens, and what alerting says to it.
func TestScripts(t *testing.T) {
	for _, file := range scripts(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			lines, want := commands(t, file)
			s := play(t, lines, -1, nothingLost)
			if *update {
				if err := os.WriteFile(file, s.said.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(want), s.said.String()); d != "" {
				t.Error(d)
			}
			s.promises()
		})
	}
}

// A restart before any command of any script changes nothing of what people hear, also when what was decided last could
// not be stored, or only the pages of it.
func TestRestartAnywhereTellsTheSame(t *testing.T) {
	for _, file := range scripts(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			lines, _ := commands(t, file)
			whole := play(t, lines, -1, nothingLost)
			want := whole.told()
			n := 0
			for _, line := range lines {
				if isCommand(line) {
					n++
				}
			}
			for k := n / 2 % fewer; k < n; k += fewer {
				for _, l := range []loss{nothingLost, incidentsLost, everythingLost} {
					s := play(t, lines, k, l)
					// That a blip was over in time may be what was lost: then people hear of it, and that it is over.
					// And an update that could not be stored is none when all is over at the restart.
					got, want := s.told(), want
					if l == everythingLost {
						// Nor is somebody called once more who was, when that could not be stored and a silence began.
						got, want = slices.Compact(withoutUpdates(got)), slices.Compact(withoutUpdates(want))
					}
					if d := cmp.Diff(want, got); d != "" && (l == nothingLost || want != nil) {
						t.Errorf("restarted before command %d, loss %d: %s\n%s", k, l, d, s.said.String())
					}
					if l == nothingLost {
						s.tookNoLess(whole)
					}
					s.promises()
				}
			}
		})
	}
}

func withoutUpdates(told []string) []string {
	return slices.DeleteFunc(slices.Clone(told), func(line string) bool { return strings.HasPrefix(line, "update") })
}
