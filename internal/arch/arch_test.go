package arch_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "kemi.dev/kemi/"

// rooms are the five that speak only over the bus, each with the leaf packages its plug-ins may import.
var rooms = map[string][]string{
	"cmdb":       {"cmdb/source"},
	"scheduler":  nil,
	"collector":  {"collector/poller", "collector/profile"},
	"processors": {"processors/sample", "processors/series/sink"},
	"alerting":   {"alerting/notify", "alerting/notify/words", "alerting/notify/post"},
}

// allowed decides one line of DESIGN's import table: may package from import package to (both without module)?
func allowed(from, to string) bool {
	under := func(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
	words := to == "bus/event" || to == "bus/event/eventpb"
	switch room, _, nested := strings.Cut(from, "/"); {
	case under(from, "cmd/kemi"):
		return true
	case from == "bus/event":
		return to == "bus/event/eventpb"
	case from == "bus/driver", from == "bus/event/eventpb":
		return false
	case from == "bus/bustest":
		return to == "bus/driver" || to == "bus/history"
	case from == "bus/history":
		return to == "bus/driver" || to == "internal/pause"
	case from == "bus/driver/outlet":
		return to == "bus/driver"
	case from == "bus/buscheck":
		return words || to == "bus" || to == "bus/driver" || under(to, "internal")
	case under(from, "bus/mem"), under(from, "bus/nats"), under(from, "bus/kafka"):
		return under(to, "bus/driver") || to == "internal/obs" || to == "internal/conf" || to == "internal/certs" || to == "internal/pause"
	case from == "bus":
		return words || to == "bus/driver" || under(to, "internal")
	case under(from, "internal"):
		return under(to, "internal")
	case from == "deploy", under(from, "dashboards"):
		return words || under(to, "internal") || to == "collector/profile" || (under(from, "dashboards") && under(to, "dashboards"))
	case rooms[room] != nil || room == "scheduler":
		if words || under(to, "internal") {
			return true
		}
		if !nested { // The room itself: the bus and its own children.
			return to == "bus" || strings.HasPrefix(to, room+"/")
		}
		// A part of a room: its own children, the leaves of its room; only doors see the bus.
		for _, leaf := range rooms[room] {
			if to == leaf {
				return true
			}
		}
		isDoor := from == "processors/rule" || from == "processors/alert" || from == "processors/ping" || from == "processors/series" ||
			from == "alerting/subscription"
		return under(to, from) || (isDoor && to == "bus")
	}
	return false
}

func TestNobodyImportsWhatTheTableForbids(t *testing.T) {
	type pkg struct {
		ImportPath string
		Imports    []string
	}
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	n := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); n++ {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module); ours && !allowed(from, to) {
				t.Errorf("%s imports %s: the table in docs/architecture.md does not allow it", from, to)
			}
		}
	}
	if n < 10 {
		t.Fatalf("only %d packages were seen", n)
	}
}

func TestTheTableForbidsWhatItShould(t *testing.T) {
	for _, arrow := range [][2]string{
		{"collector", "scheduler"},
		{"alerting", "processors"},
		{"collector/snmp", "bus"},
		{"collector/snmp", "collector"},
		{"bus/event", "bus"},
		{"bus/nats", "bus"},
		{"internal/conf", "bus/event"},
		{"cmdb/file", "cmdb"},
		{"bus", "collector"},
		{"alerting/notify/webhook", "alerting"},
		{"collector/snmp", "collector/http"},
		{"processors/rule", "processors/alert"},
		{"alerting/subscription", "alerting"},
		{"alerting/notify/webhook", "bus"},
	} {
		if allowed(arrow[0], arrow[1]) {
			t.Errorf("%s may import %s", arrow[0], arrow[1])
		}
	}
	for _, arrow := range [][2]string{
		{"collector", "bus"},
		{"collector", "collector/snmp"},
		{"collector/snmp", "collector/poller"},
		{"cmd/kemi", "alerting"},
		{"bus", "internal/obs"},
		{"processors/rule", "bus"},
		{"alerting/subscription", "bus"},
		{"alerting/subscription", "alerting/notify/post"},
		{"processors/series/embedded", "processors/series/sink"},
	} {
		if !allowed(arrow[0], arrow[1]) {
			t.Errorf("%s may not import %s", arrow[0], arrow[1])
		}
	}
}

// A promise names the test that holds it as `TestName` (path): both have to be there.
func TestEveryPromiseNamesATestThatExists(t *testing.T) {
	text, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)` \\(([a-z0-9/_]+_test\\.go)").FindAllStringSubmatch(string(text), -1)
	if all := strings.Count(string(text), "`Test"); len(named) != all {
		t.Errorf("%d tests are named, %d of them with their file", all, len(named))
	}
	for _, n := range named {
		code, err := os.ReadFile("../../" + n[2])
		if err != nil || !bytes.Contains(code, []byte("func "+n[1]+"(t *testing.T)")) {
			t.Errorf("docs/guarantees.md names %s in %s, which is not there", n[1], n[2])
		}
	}
}

// Links between the documents lead somewhere.
func TestDocumentsLinkToWhatExists(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	for _, file := range append(files, "../../README.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(l[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), l[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", file, l[1])
			}
		}
	}
}
