package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// source is what the comments and constants of a package say.
type source struct {
	types  map[string]string            // Comments of types.
	fields map[string]map[string]string // Comments of fields, by type.
	values map[string][]value           // Constants of a type of strings, in their order.
}

// value is one constant.
type value struct{ text, comment string }

// readSource parses the package in a directory.
func readSource(dir string) (*source, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read the words: no Go files in %s: run this from the top of the repository", dir)
	}
	s := &source{types: map[string]string{}, fields: map[string]map[string]string{}, values: map[string][]value{}}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("read the words: %w", err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				if err := s.read(g); err != nil {
					return nil, fmt.Errorf("read the words: %s: %w", file, err)
				}
			}
		}
	}
	return s, nil
}

func (s *source) read(g *ast.GenDecl) error {
	for _, spec := range g.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			comment := spec.Doc
			if comment == nil {
				comment = g.Doc
			}
			s.types[spec.Name.Name] = text(comment)
			if st, ok := spec.Type.(*ast.StructType); ok {
				fields := map[string]string{}
				for _, f := range st.Fields.List {
					for _, name := range f.Names {
						fields[name.Name] = text(f.Doc, f.Comment)
					}
				}
				s.fields[spec.Name.Name] = fields
			}
		case *ast.ValueSpec:
			typ, ok := spec.Type.(*ast.Ident)
			if g.Tok != token.CONST || !ok || len(spec.Values) != 1 {
				continue
			}
			lit, ok := spec.Values[0].(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				continue
			}
			v, err := strconv.Unquote(lit.Value)
			if err != nil {
				return err
			}
			s.values[typ.Name] = append(s.values[typ.Name], value{v, text(spec.Doc, spec.Comment)})
		}
	}
	return nil
}

// text joins comments to one line each paragraph.
func text(groups ...*ast.CommentGroup) string {
	var parts []string
	for _, g := range groups {
		if t := strings.TrimSpace(g.Text()); t != "" {
			parts = append(parts, strings.ReplaceAll(t, "\n", " "))
		}
	}
	return strings.Join(parts, " ")
}
