package alerting

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/alertmanager"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/internal/conf"
)

// The table of receivers names every kind, and no key that a kind does not know.
func TestTheTableOfReceiversIsTrue(t *testing.T) {
	text, err := os.ReadFile("../docs/oncall.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Receivers: kinds and their keys\n")
	table, _, _ = strings.Cut(table, "\n## ")
	quoted, makers, seen := regexp.MustCompile("`([a-z0-9_]+)`"), kinds(&inbox.Set{}), map[string]bool{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) != 4 || strings.Contains(cells[1], "---") || strings.TrimSpace(cells[1]) == "kind" {
			continue
		}
		names := quoted.FindAllStringSubmatch(cells[1], -1)
		for _, name := range names {
			seen[name[1]] = true
			if makers[name[1]] == nil {
				t.Errorf("there is no kind %s", name[1])
			}
		}
		if len(names) != 1 { // Alertmanager's, which documents their keys.
			continue
		}
		keys := regexp.MustCompile(`\([^)]*\)|:.*`).ReplaceAllString(strings.ReplaceAll(cells[2], "those of `webhook`", ""), "")
		for _, key := range quoted.FindAllStringSubmatch(keys, -1) {
			nodes, problems := conf.Parse("kemi.yaml", []byte(key[1]+": 1"))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if _, problems = makers[names[0][1]]("x", nodes[0], notify.Env{}); strings.Contains(problems.Error(), "unknown key") {
				t.Errorf("%s does not know %s", names[0][1], key[1])
			}
		}
	}
	for name := range makers {
		if !seen[name] {
			t.Errorf("%s is not in docs/oncall.md", name)
		}
	}
	for _, name := range alertmanager.Kinds() {
		if makers[name] == nil {
			t.Errorf("no receiver is made of %s", name)
		}
	}
}
