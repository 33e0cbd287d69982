package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/cmd/kemi/app"
	"kemi.dev/kemi/cmd/kemi/config"
)

// testdata/check has configurations with mistakes, or with something to note, and beside each what kemi check says of it in
// the morning of Monday, 5 January 2026.
func TestCheckNamesEveryMistakeAtOnce(t *testing.T) {
	files, err := filepath.Glob("testdata/check/*.yaml")
	must(t, err)
	now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Setenv("AWS_CA_BUNDLE", "") // A receiver of kind sns cannot work with it, and says so.
			cfg, problems := config.Load(file, false)
			if cfg == nil {
				t.Fatal(problems)
			}
			found := app.Check(t.Context(), cfg, now)
			var got bytes.Buffer
			for _, p := range append(problems, found.Problems...).Sorted() {
				if p.Line == 0 || p.Column == 0 || p.Do == "" {
					t.Errorf("%v does not say where, or what to do", p)
				}
				fmt.Fprintln(&got, p)
			}
			for _, n := range found.Notes.Sorted() {
				fmt.Fprintln(&got, "note:", n)
			}
			said := strings.ReplaceAll(got.String(), "testdata/check/"+filepath.Base(file)+":", "")
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				must(t, os.WriteFile(golden, []byte(said), 0o644))
			}
			want, err := os.ReadFile(golden)
			must(t, err)
			if said != string(want) {
				t.Errorf("kemi check says\n%s\nand should say\n%s", said, want)
			}
		})
	}
}
