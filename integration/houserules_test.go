// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/kvorum/kvorum"

// mayImport is the law of import direction: which of our packages a folder may import. A folder
// that is not named here may import nothing of ours; a folder inherits its parent's row.
var mayImport = map[string][]string{
	"internal/host":      {},
	"store":              {"store/arena", "store/collections", "store/keyed"},
	"store/arena":        {},
	"store/collections":  {"store/keyed"},
	"store/keyed":        {},
	"snapshots":          {"internal/host"},
	"fsm":                {"store", "snapshots", "fsm/rdb"},
	"fsm/rdb":            {},
	"fsm/script":         {"fsm"},
	"raftnode":           {"internal/host", "fsm", "snapshots", "raftnode/link", "raftnode/transport", "raftnode/logstore"},
	"raftnode/link":      {"internal/host"},
	"raftnode/transport": {"internal/host", "raftnode/link"},
	"raftnode/logstore":  {"internal/host", "raftnode/logstore"},
	"shard":              {"internal/host", "fsm", "fsm/script", "raftnode"},
	"tcpd":               {"internal/host", "fsm", "shard", "client/wire", "tcpd"},
	"httpd":              {"internal/host", "fsm", "shard"},
	"client":             {"client/wire"},
	"client/wire":        {},
	"cmd/kvorum":         {"*"},
	"integration":        {"*"},
}

// pure packages may not know time of day, dice, files, sockets or goroutines.
var purePackages = map[string][]string{
	"store": {"time", "math/rand", "math/rand/v2", "crypto/rand", "os", "net", "net/http", "runtime", "unsafe", "context"},
	"fsm":   {"time", "math/rand", "math/rand/v2", "crypto/rand", "os", "net", "net/http", "runtime", "unsafe", "context"},
}

const (
	maxFileLines     = 600
	maxFunctionLines = 70
	// maxTestLines leaves room for a table of cases inside the test that walks it.
	maxTestLines = 100
	maxBlobBytes = 256 << 10
)

type goPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
	Standard   bool
	GoFiles    []string
	Tests      []string `json:"TestGoFiles"`
	OuterTests []string `json:"XTestGoFiles"`
	// Ignored files are those of other systems and build tags.
	Ignored []string `json:"IgnoredGoFiles"`
}

func (p *goPackage) files() []string {
	return slices.Concat(p.GoFiles, p.Tests, p.OuterTests, p.Ignored)
}

func listPackages(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Imports,Deps,Standard,GoFiles,TestGoFiles,XTestGoFiles,IgnoredGoFiles"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	var pkgs []goPackage
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
}

func rowFor(folder string) ([]string, bool) {
	for f := folder; f != "."; f = filepath.Dir(f) {
		if row, ok := mayImport[f]; ok {
			return row, true
		}
	}
	return nil, false
}

func allowed(row []string, dep string) bool {
	for _, a := range row {
		if a == "*" || a == dep || strings.HasPrefix(dep, a+"/") && a == "tcpd" {
			return true
		}
	}
	return false
}

// TestHouseRulesImports holds every package to the one direction of imports.
func TestHouseRulesImports(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		folder := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		row, ok := rowFor(folder)
		if !ok {
			t.Errorf("%s: a folder without a row in mayImport", folder)
			continue
		}
		for _, imp := range p.Imports {
			if dep, ours := strings.CutPrefix(imp, module+"/"); ours && !allowed(row, dep) {
				t.Errorf("%s imports %s: the table of imports forbids it", folder, dep)
			}
		}
	}
}

// TestHouseRulesClientDependencies keeps the public client free of everything but the standard
// library, itself and the wire package.
func TestHouseRulesClientDependencies(t *testing.T) {
	std := map[string]bool{}
	for _, p := range listPackages(t, "-deps", "./client") {
		std[p.ImportPath] = p.Standard
		if !p.Standard && p.ImportPath != module+"/client" && p.ImportPath != module+"/client/wire" {
			t.Errorf("client depends on %s", p.ImportPath)
		}
	}
	if len(std) < 3 {
		t.Fatalf("go list -deps ./client named only %d packages", len(std))
	}
}

// TestHouseRulesPure keeps clock, dice and I/O out of the state machine, third parties included.
func TestHouseRulesPure(t *testing.T) {
	for _, p := range listPackages(t, "./store", "./fsm") {
		folder := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imp := range p.Imports {
			for _, bad := range purePackages[folder] {
				if imp == bad {
					t.Errorf("%s imports %s: the state machine owns no clock, dice or I/O", folder, imp)
				}
			}
		}
		for _, name := range p.GoFiles {
			forbidGoStatements(t, filepath.Join(p.Dir, name))
		}
	}
}

func forbidGoStatements(t *testing.T, path string) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if g, ok := n.(*ast.GoStmt); ok {
			t.Errorf("%s: the state machine starts no goroutine", fset.Position(g.Pos()))
		}
		return true
	})
}

// TestHouseRulesFiles checks sizes, licence lines, package comments, init functions and waits.
func TestHouseRulesFiles(t *testing.T) {
	comments := map[string]int{}
	for _, p := range listPackages(t, "./...") {
		comments[p.Dir] += 0
		for _, name := range p.files() {
			path := filepath.Join(p.Dir, name)
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, path, src, comments)
		}
	}
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("%s: %d package comments, want exactly one", dir, n)
		}
	}
}

func checkFile(t *testing.T, path string, src []byte, comments map[string]int) {
	t.Helper()
	text := string(src)
	if !strings.HasPrefix(text, "// SPDX-License-Identifier: Apache-2.0\n") {
		t.Errorf("%s: no SPDX line at the top", path)
	}
	if n := strings.Count(text, "\n"); n > maxFileLines {
		t.Errorf("%s: %d lines, at most %d: a second idea lives in it", path, n, maxFileLines)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	test := strings.HasSuffix(path, "_test.go")
	if file.Doc != nil && !test {
		comments[filepath.Dir(path)]++
	}
	for _, decl := range file.Decls {
		checkDecl(t, fset, decl, test)
	}
	if !inVirtualTime(path) {
		for _, pos := range sleeps(file) {
			t.Errorf("%s: a sleep outside virtual time: wait for the event", fset.Position(pos))
		}
	}
}

// inVirtualTime tells whether a file may sleep: what it has runs in testing/synctest bubbles alone.
func inVirtualTime(path string) bool {
	return strings.HasSuffix(path, "_synctest_test.go")
}

// sleeps finds the uses of Sleep of package time, and of After as another name for it.
func sleeps(file *ast.File) []token.Pos {
	clock := ""
	for _, imp := range file.Imports {
		if imp.Path.Value == `"time"` {
			clock = "time"
			if imp.Name != nil {
				clock = imp.Name.Name
			}
		}
	}
	is := func(n ast.Node, name string) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		x, ok := sel.X.(*ast.Ident)
		return ok && x.Name == clock && sel.Sel.Name == name
	}
	var found []token.Pos
	limits := map[ast.Stmt]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if is(n, "Sleep") {
				found = append(found, n.Pos())
			}
		case *ast.ExprStmt: // a case of a select is the limit of another wait
			if u, ok := n.X.(*ast.UnaryExpr); ok && u.Op == token.ARROW && !limits[n] {
				if c, ok := u.X.(*ast.CallExpr); ok && is(c.Fun, "After") {
					found = append(found, n.Pos())
				}
			}
		case *ast.CommClause:
			limits[n.Comm] = true
		}
		return true
	})
	return found
}

// TestHouseRulesSleeps: the rule sees a sleep under any name, and only in files that are not of virtual time.
func TestHouseRulesSleeps(t *testing.T) {
	table, err := os.ReadFile("testdata/sleeps.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for row := range strings.Lines(string(table)) {
		if strings.HasPrefix(row, "#") {
			continue
		}
		rows++
		want, src, _ := strings.Cut(row, " ")
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+src, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := strconv.Itoa(len(sleeps(file))); got != want {
			t.Errorf("%s: %s sleeps, want %s", src, got, want)
		}
	}
	if rows < 7 {
		t.Errorf("only %d rows", rows)
	}
	for path, want := range map[string]bool{
		"/r/shard/lane_test.go": false, "/r/shard/lane_synctest_test.go": true, "/r/shard/lane.go": false,
	} {
		if inVirtualTime(path) != want {
			t.Errorf("%s: %v, want %v", path, !want, want)
		}
	}
}

func checkDecl(t *testing.T, fset *token.FileSet, decl ast.Decl, test bool) {
	t.Helper()
	fn, ok := decl.(*ast.FuncDecl)
	if !ok {
		return
	}
	lines := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
	limit := maxFunctionLines
	if test {
		limit = maxTestLines
	}
	if lines > limit {
		t.Errorf("%s: %s has %d lines, at most %d", fset.Position(fn.Pos()), fn.Name.Name, lines, limit)
	}
	if !test && fn.Recv == nil && fn.Name.Name == "init" {
		t.Errorf("%s: no init functions", fset.Position(fn.Pos()))
	}
}

// TestHouseRulesBlobs keeps large files and binaries out of the tree.
func TestHouseRulesBlobs(t *testing.T) {
	out, err := exec.Command("git", "-C", "..", "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		info, err := os.Stat(filepath.Join("..", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > maxBlobBytes && filepath.Base(name) != "go.sum" && filepath.Base(name) != "tools.sum" {
			t.Errorf("%s: %s bytes, at most %d", name, strconv.FormatInt(info.Size(), 10), maxBlobBytes)
		}
	}
}

// TestHouseRulesTable keeps the table honest: every row names a folder that exists.
func TestHouseRulesTable(t *testing.T) {
	for folder := range mayImport {
		if _, err := os.Stat(filepath.Join("..", folder)); err != nil {
			t.Error(fmt.Errorf("mayImport names a folder that does not exist: %w", err))
		}
	}
}
