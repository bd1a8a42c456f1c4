// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// The guarded functions that syntax becomes a call of. No script can name them: a name has no zero byte.
const (
	guardConcat = "\x00concat"
	guardKey    = "\x00key"
	guardFill   = "\x00fill"
	// heldTable is the local name of a table that is assigned to.
	heldTable = "\x00table"
)

// concatArgs bounds the operands of one call.
const concatArgs = 32

// smallKey is the highest constant index that needs no guard.
const smallKey = 64

// rewriter walks a script's syntax. It replaces what could take much memory in one step, and bounds the depth: the
// compiler recurs as deep.
type rewriter struct {
	name  string
	depth int
	err   error
	// constants are those of the function that is walked, folded the numbers that the compiler may make there.
	constants map[string]struct{}
	folded    int
	// locals are the local names in sight at most, lookups what the compiler compares to find names and constants.
	locals, lookups int
}

// refuse ends the walk.
func (w *rewriter) refuse(at ast.PositionHolder, why string) {
	if w.err == nil {
		w.err = fmt.Errorf("%s:%d: %s", w.name, at.Line(), why)
	}
}

// constant notes a name or a literal.
func (w *rewriter) constant(at ast.PositionHolder, text string) {
	w.constants[text] = struct{}{}
	n := len(w.constants) + w.folded
	if n > maxConstants {
		w.refuse(at, "function has too many constants")
	}
	if w.lookups += n + w.locals; w.lookups > maxLookups {
		w.refuse(at, "chunk has too many names")
	}
}

// fold notes an operator that the compiler may make a number of.
func (w *rewriter) fold(at ast.PositionHolder) {
	w.folded++
	w.constant(at, "")
}

// function walks a function's body.
func (w *rewriter) function(f *ast.FunctionExpr) {
	constants, folded, locals := w.constants, w.folded, w.locals
	w.constants, w.folded = make(map[string]struct{}), 0
	if f.ParList != nil {
		w.locals += len(f.ParList.Names)
	}
	w.stmts(f.Stmts)
	w.constants, w.folded, w.locals = constants, folded, locals
}

// enter goes one level down; false when that is too deep.
func (w *rewriter) enter(at ast.PositionHolder) bool {
	if w.depth++; w.depth > maxNesting {
		w.refuse(at, "chunk has too many syntax levels")
	}
	return w.err == nil
}

func (w *rewriter) stmts(list []ast.Stmt) {
	locals := w.locals
	for i, s := range list {
		if w.enter(s) {
			list[i] = w.stmt(s)
		}
		w.depth--
	}
	w.locals = locals
}

// stmt walks a statement and gives what is in its place.
func (w *rewriter) stmt(s ast.Stmt) ast.Stmt {
	switch s := s.(type) {
	case *ast.AssignStmt:
		w.exprs(s.Lhs)
		w.exprs(s.Rhs)
		return assigned(s)
	case *ast.LocalAssignStmt:
		w.exprs(s.Exprs)
		w.locals += len(s.Names)
	case *ast.FuncCallStmt:
		w.expr(&s.Expr)
	case *ast.DoBlockStmt:
		w.stmts(s.Stmts)
	case *ast.WhileStmt:
		w.expr(&s.Condition)
		w.stmts(s.Stmts)
	case *ast.RepeatStmt:
		w.expr(&s.Condition)
		w.stmts(s.Stmts)
	case *ast.IfStmt:
		w.expr(&s.Condition)
		w.stmts(s.Then)
		w.stmts(s.Else)
	case *ast.NumberForStmt:
		w.expr(&s.Init)
		w.expr(&s.Limit)
		w.expr(&s.Step)
		w.locals++
		w.stmts(s.Stmts)
		w.locals--
	case *ast.GenericForStmt:
		w.exprs(s.Exprs)
		w.locals += len(s.Names)
		w.stmts(s.Stmts)
		w.locals -= len(s.Names)
	case *ast.FuncDefStmt:
		w.expr(&s.Name.Func)
		w.expr(&s.Name.Receiver)
		if s.Name.Method != "" {
			w.constant(s, "s"+s.Name.Method)
		}
		w.function(s.Func)
	case *ast.ReturnStmt:
		w.exprs(s.Exprs)
	}
	return s
}

func (w *rewriter) exprs(list []ast.Expr) {
	for i := range list {
		w.expr(&list[i])
	}
}

// expr walks what *p holds, nil included, and may replace it.
func (w *rewriter) expr(p *ast.Expr) {
	if *p == nil {
		return
	}
	if w.enter(*p) {
		w.walk(p)
	}
	w.depth--
}

func (w *rewriter) walk(p *ast.Expr) {
	switch e := (*p).(type) {
	case *ast.StringExpr:
		w.constant(e, "s"+e.Value)
	case *ast.NumberExpr:
		w.constant(e, "n"+e.Value)
	case *ast.IdentExpr:
		w.constant(e, "s"+e.Value)
	case *ast.AttrGetExpr:
		w.expr(&e.Object)
		w.expr(&e.Key)
	case *ast.TableExpr:
		w.table(p, e)
	case *ast.FuncCallExpr:
		if e.Method != "" {
			w.constant(e, "s"+e.Method)
		}
		w.expr(&e.Func)
		w.expr(&e.Receiver)
		w.exprs(e.Args)
	case *ast.LogicalOpExpr:
		w.expr(&e.Lhs)
		w.expr(&e.Rhs)
	case *ast.RelationalOpExpr:
		w.expr(&e.Lhs)
		w.expr(&e.Rhs)
	case *ast.ArithmeticOpExpr:
		w.fold(e)
		w.expr(&e.Lhs)
		w.expr(&e.Rhs)
	case *ast.UnaryMinusOpExpr:
		w.fold(e)
		w.expr(&e.Expr)
	case *ast.UnaryNotOpExpr:
		w.expr(&e.Expr)
	case *ast.UnaryLenOpExpr:
		w.expr(&e.Expr)
	case *ast.FunctionExpr:
		w.function(e)
	case *ast.StringConcatOpExpr:
		w.concat(p, e)
	}
}

// table guards what fills a table: its indexes, and a last field of many values.
func (w *rewriter) table(p *ast.Expr, e *ast.TableExpr) {
	plain := 0
	for _, f := range e.Fields {
		w.expr(&f.Key)
		w.expr(&f.Value)
		if f.Key != nil {
			f.Key = guarded(nil, f.Key)
		} else {
			plain++
		}
	}
	if len(e.Fields) == 0 {
		return
	}
	last := e.Fields[len(e.Fields)-1]
	if last.Key != nil || !many(last.Value) {
		return
	}
	e.Fields = e.Fields[:len(e.Fields)-1]
	there := &ast.NumberExpr{Value: strconv.Itoa(plain - 1)}
	place(there, e)
	w.constant(there, "n"+there.Value)
	*p = call(guardFill, e, []ast.Expr{e, there, last.Value})
}

// many tells whether an expression gives as many values as it has.
func many(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		return !e.AdjustRet
	case *ast.Comma3Expr:
		return !e.AdjustRet
	}
	return false
}

// concat makes one call of a row of operators, which bind to the right.
func (w *rewriter) concat(p *ast.Expr, e *ast.StringConcatOpExpr) {
	args := []ast.Expr{e.Lhs}
	rest := e.Rhs
	for len(args) < concatArgs-1 {
		next, ok := rest.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		args = append(args, next.Lhs)
		rest = next.Rhs
	}
	args = append(args, rest)
	w.exprs(args)
	one(args[len(args)-1])
	*p = call(guardConcat, e, args)
}

// call makes a call that gives one value.
func call(name string, at ast.PositionHolder, args []ast.Expr) ast.Expr {
	fn := &ast.IdentExpr{Value: name}
	out := &ast.FuncCallExpr{Func: fn, Args: args, AdjustRet: true}
	place(fn, at)
	place(out, at)
	return out
}

// one makes an expression give one value.
func one(e ast.Expr) {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = true
	case *ast.Comma3Expr:
		e.AdjustRet = true
	}
}

// place puts new syntax where old syntax is.
func place(n, at ast.PositionHolder) {
	n.SetLine(at.Line())
	n.SetLastLine(at.LastLine())
}

// assigned guards the indexes of an assignment. A guard is told the table where it has a name, which a single assignment
// can give it.
func assigned(s *ast.AssignStmt) ast.Stmt {
	var out ast.Stmt = s
	for _, left := range s.Lhs {
		at, ok := left.(*ast.AttrGetExpr)
		if !ok {
			continue
		}
		name, ok := at.Object.(*ast.IdentExpr)
		if _, call := guarded(nil, at.Key).(*ast.FuncCallExpr); call && !ok && len(s.Lhs) == 1 {
			one(at.Object)
			hold := &ast.LocalAssignStmt{Names: []string{heldTable}, Exprs: []ast.Expr{at.Object}}
			name = &ast.IdentExpr{Value: heldTable}
			block := &ast.DoBlockStmt{Stmts: []ast.Stmt{hold, s}}
			for _, n := range []ast.PositionHolder{hold, name, block} {
				place(n, s)
			}
			at.Object, out = name, block
		}
		at.Key = guarded(name, at.Key)
	}
	return out
}

// guarded puts a guard, which is told the table unless that is nil, around the index of an assignment, unless it is plain that the index is a small one.
func guarded(table *ast.IdentExpr, key ast.Expr) ast.Expr {
	switch k := key.(type) {
	case *ast.StringExpr:
		return key
	case *ast.NumberExpr:
		if n, err := strconv.ParseFloat(k.Value, 64); err == nil && n <= smallKey {
			return key
		}
	}
	one(key)
	args := []ast.Expr{key}
	if table != nil {
		again := &ast.IdentExpr{Value: table.Value}
		place(again, table)
		args = append(args, again)
	}
	return call(guardKey, key, args)
}
