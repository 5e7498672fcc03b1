package main

import (
	"go/types"
	"slices"
	"strings"
)

// apiWalk finds the types of internal packages that another module meets in a package's API.
type apiWalk struct {
	module string
	seen   map[types.Type]bool
	found  []string // where, and which type
}

// ours reports whether p is in the module.
func (w *apiWalk) ours(p *types.Package) bool {
	return p != nil && strings.HasPrefix(p.Path()+"/", w.module+"/")
}

func (w *apiWalk) pkg(p *types.Package) {
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		where := p.Name() + "." + name
		if named, ok := o.Type().(*types.Named); ok && named.Obj() == o {
			w.definition(where, named)
		} else {
			w.typ(where, o.Type())
		}
	}
}

// definition walks a defined type: its parameters, its exported methods, promoted ones among them, and what it is
// made of.
func (w *apiWalk) definition(where string, t *types.Named) {
	if w.seen[t] {
		return
	}
	w.seen[t] = true
	w.params(where, t.TypeParams())
	methods := types.NewMethodSet(types.NewPointer(t))
	for i := range methods.Len() {
		if m := methods.At(i).Obj(); m.Exported() {
			w.typ(where+"."+m.Name(), m.Type())
		}
	}
	w.typ(where, t.Underlying())
}

func (w *apiWalk) params(where string, list *types.TypeParamList) {
	for i := range list.Len() {
		w.typ(where, list.At(i).Constraint())
	}
}

// typ walks a type as it is written somewhere in the API.
func (w *apiWalk) typ(where string, t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		w.name(where, t.Obj(), t.TypeArgs())
		w.typ(where, t.Rhs())
	case *types.Named:
		w.name(where, t.Obj(), t.TypeArgs())
		if w.ours(t.Obj().Pkg()) && !t.Obj().Exported() {
			w.definition(where, t) // its methods can be called
		}
	case *types.Pointer:
		w.typ(where, t.Elem())
	case *types.Slice:
		w.typ(where, t.Elem())
	case *types.Array:
		w.typ(where, t.Elem())
	case *types.Chan:
		w.typ(where, t.Elem())
	case *types.Map:
		w.typ(where, t.Key())
		w.typ(where, t.Elem())
	case *types.Tuple:
		for v := range t.Variables() {
			w.typ(where, v.Type())
		}
	case *types.Signature:
		w.params(where, t.TypeParams())
		w.typ(where, t.Params())
		w.typ(where, t.Results())
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				w.typ(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.ExplicitMethods() {
			if m.Exported() {
				w.typ(where+"."+m.Name(), m.Type())
			}
		}
		for e := range t.EmbeddedTypes() {
			w.typ(where, e)
		}
	case *types.Union:
		for term := range t.Terms() {
			w.typ(where, term.Type())
		}
	}
}

// name notes a named type if its package is internal.
func (w *apiWalk) name(where string, o *types.TypeName, args *types.TypeList) {
	for t := range args.Types() {
		w.typ(where, t)
	}
	if !w.ours(o.Pkg()) || !isInternal(o.Pkg().Path()) {
		return
	}
	if line := where + ": " + o.Pkg().Path() + "." + o.Name(); !slices.Contains(w.found, line) {
		w.found = append(w.found, line)
	}
}

// isInternal reports whether the package cannot be imported from outside the module.
func isInternal(path string) bool { return slices.Contains(strings.Split(path, "/"), "internal") }
