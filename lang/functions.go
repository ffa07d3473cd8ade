package lang

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	"go.yaml.in/yaml/v3"
)

// Functions are what an expression may call, by name. The pure ones, named and behaving as Terraform's, are the same
// whatever w is; the others read the workspace through w. Facts are not among them: the compiler adds `facts` and
// `fact::NAME`. The map is the caller's.
func Functions(w World) map[string]function.Function {
	all := pure()
	maps.Copy(all, reading(w))
	return all
}

// functionNames are the names of all functions, sorted, with those that the compiler adds.
func functionNames() []string {
	names := append(slices.Collect(maps.Keys(Functions(World{}))), "facts")
	slices.Sort(names)
	return names
}

func pure() map[string]function.Function {
	return map[string]function.Function{
		"abs":             stdlib.AbsoluteFunc,
		"alltrue":         allTrue,
		"anytrue":         anyTrue,
		"base64decode":    base64Decode,
		"base64encode":    text("Base64 of the UTF-8 bytes of a string.", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
		"base64sha256":    text("Base64 of the SHA-256 of the UTF-8 bytes of a string.", func(s string) string { h := sha256.Sum256([]byte(s)); return base64.StdEncoding.EncodeToString(h[:]) }),
		"base64sha512":    text("Base64 of the SHA-512 of the UTF-8 bytes of a string.", func(s string) string { h := sha512.Sum512([]byte(s)); return base64.StdEncoding.EncodeToString(h[:]) }),
		"basename":        text("The last element of a path.", path.Base),
		"can":             tryfunc.CanFunc,
		"ceil":            stdlib.CeilFunc,
		"chomp":           stdlib.ChompFunc,
		"chunklist":       stdlib.ChunklistFunc,
		"coalesce":        stdlib.CoalesceFunc,
		"coalescelist":    stdlib.CoalesceListFunc,
		"compact":         stdlib.CompactFunc,
		"concat":          stdlib.ConcatFunc,
		"contains":        stdlib.ContainsFunc,
		"csvdecode":       stdlib.CSVDecodeFunc,
		"dirname":         text("All but the last element of a path.", path.Dir),
		"distinct":        stdlib.DistinctFunc,
		"element":         stdlib.ElementFunc,
		"endswith":        test("Whether a string ends with another.", strings.HasSuffix),
		"flatten":         stdlib.FlattenFunc,
		"floor":           stdlib.FloorFunc,
		"format":          stdlib.FormatFunc,
		"formatlist":      stdlib.FormatListFunc,
		"indent":          stdlib.IndentFunc,
		"index":           indexOf,
		"join":            stdlib.JoinFunc,
		"jsondecode":      bounded(stdlib.JSONDecodeFunc),
		"jsonencode":      stdlib.JSONEncodeFunc,
		"keys":            stdlib.KeysFunc,
		"length":          length,
		"log":             stdlib.LogFunc,
		"lookup":          stdlib.LookupFunc,
		"lower":           stdlib.LowerFunc,
		"max":             stdlib.MaxFunc,
		"md5":             text("MD5 of the UTF-8 bytes of a string, in hex.", func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }),
		"merge":           stdlib.MergeFunc,
		"min":             stdlib.MinFunc,
		"one":             one,
		"parseint":        stdlib.ParseIntFunc,
		"pow":             stdlib.PowFunc,
		"range":           stdlib.RangeFunc,
		"regex":           stdlib.RegexFunc,
		"regexall":        stdlib.RegexAllFunc,
		"replace":         replace,
		"reverse":         stdlib.ReverseListFunc,
		"setintersection": stdlib.SetIntersectionFunc,
		"setproduct":      stdlib.SetProductFunc,
		"setsubtract":     stdlib.SetSubtractFunc,
		"setunion":        stdlib.SetUnionFunc,
		"sha1":            text("SHA-1 of the UTF-8 bytes of a string, in hex.", func(s string) string { h := sha1.Sum([]byte(s)); return hex.EncodeToString(h[:]) }),
		"sha256":          text("SHA-256 of the UTF-8 bytes of a string, in hex.", func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }),
		"sha512":          text("SHA-512 of the UTF-8 bytes of a string, in hex.", func(s string) string { h := sha512.Sum512([]byte(s)); return hex.EncodeToString(h[:]) }),
		"signum":          stdlib.SignumFunc,
		"slice":           stdlib.SliceFunc,
		"sort":            stdlib.SortFunc,
		"split":           stdlib.SplitFunc,
		"startswith":      test("Whether a string starts with another.", strings.HasPrefix),
		"strcontains":     test("Whether a string contains another.", strings.Contains),
		"strrev":          stdlib.ReverseFunc,
		"substr":          stdlib.SubstrFunc,
		"sum":             sum,
		"title":           stdlib.TitleFunc,
		"tobool":          stdlib.MakeToFunc(cty.Bool),
		"tolist":          stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
		"tomap":           stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)),
		"tonumber":        bounded(stdlib.MakeToFunc(cty.Number)),
		"toset":           stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
		"tostring":        stdlib.MakeToFunc(cty.String),
		"transpose":       transpose,
		"trim":            stdlib.TrimFunc,
		"trimprefix":      stdlib.TrimPrefixFunc,
		"trimspace":       stdlib.TrimSpaceFunc,
		"trimsuffix":      stdlib.TrimSuffixFunc,
		"try":             tryfunc.TryFunc,
		"upper":           stdlib.UpperFunc,
		"urlencode":       text("A string made safe for the query of a URL.", url.QueryEscape),
		"values":          stdlib.ValuesFunc,
		"yamldecode":      bounded(yamlDecode),
		"zipmap":          stdlib.ZipmapFunc,
	}
}

// reading are the functions that look at the workspace.
func reading(w World) map[string]function.Function {
	look := func(description, param string, result cty.Type, impl func(name string) (cty.Value, error)) function.Function {
		return function.New(&function.Spec{
			Description: description,
			Params:      []function.Parameter{{Name: param, Type: cty.String}},
			Type:        function.StaticReturnType(result),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				v, err := impl(args[0].AsString())
				if err != nil {
					return cty.UnknownVal(result), function.NewArgError(0, err)
				}
				return v, nil
			},
		})
	}
	needed := func(kind, name string) (Reading, any, error) {
		r, held, err := w.read(kind, name)
		if err == nil && !r.Found {
			err = fmt.Errorf("there is no file %s", name)
		}
		return r, held, err
	}
	return map[string]function.Function{
		"file": look("The text of a file of the workspace.", "path", cty.String, func(name string) (cty.Value, error) {
			_, held, err := needed("file", name)
			if err != nil {
				return cty.NilVal, err
			}
			text, _ := held.([]byte)
			if !utf8.Valid(text) {
				return cty.NilVal, fmt.Errorf("%s is not UTF-8 text", name)
			}
			return cty.StringVal(string(text)), nil
		}),
		"fileexists": look("Whether there is such a file, not a directory, in the workspace.", "path", cty.Bool, func(name string) (cty.Value, error) {
			r, _, err := w.read("exists", name)
			return cty.BoolVal(r.Found), err
		}),
		"filesize": look("The size of a file of the workspace, in bytes.", "path", cty.Number, func(name string) (cty.Value, error) {
			r, _, err := needed("size", name)
			if err != nil {
				return cty.NilVal, err
			}
			return cty.ParseNumberVal(r.Value)
		}),
		"filehash": look("The BLAKE3 digest of a file of the workspace, in hex.", "path", cty.String, func(name string) (cty.Value, error) {
			r, _, err := needed("hash", name)
			return cty.StringVal(r.Value), err
		}),
		"executable": look("Whether there is a program of this name on PATH.", "name", cty.Bool, func(name string) (cty.Value, error) {
			r, _, err := w.read("program", name)
			return cty.BoolVal(r.Found), err
		}),
		"fileset": function.New(&function.Spec{
			Description: "The files of the workspace that match any of the patterns, by their paths.",
			VarParam:    &function.Parameter{Name: "patterns", Type: cty.String},
			Type:        function.StaticReturnType(cty.Set(cty.String)),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				var found []cty.Value
				for i, a := range args {
					files, err := w.glob(a.AsString())
					if err != nil {
						return cty.UnknownVal(cty.Set(cty.String)), function.NewArgError(i, err)
					}
					for _, f := range files {
						if !utf8.ValidString(f) {
							return cty.UnknownVal(cty.Set(cty.String)), function.NewArgErrorf(i, "the name of %q is not UTF-8, so no string can hold it: rename it, or let ignore or a narrower pattern leave it out", f)
						}
						if w.Found != nil {
							w.Found(f)
						}
						found = append(found, cty.StringVal(f))
					}
				}
				if len(found) == 0 {
					return cty.SetValEmpty(cty.String), nil
				}
				return cty.SetVal(found), nil
			},
		}),
		"env": function.New(&function.Spec{
			Description: "The value of an environment variable; where it is not set, the second argument or an empty string.",
			Params:      []function.Parameter{{Name: "name", Type: cty.String}},
			VarParam:    &function.Parameter{Name: "default", Type: cty.String},
			Type:        function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				if len(args) > 2 {
					return cty.UnknownVal(cty.String), function.NewArgErrorf(2, "at most one default")
				}
				r, _, err := w.read("env", args[0].AsString())
				switch {
				case err != nil:
					return cty.UnknownVal(cty.String), function.NewArgError(0, err)
				case !r.Found && len(args) == 2:
					return args[1], nil
				default:
					return cty.StringVal(r.Value), nil
				}
			},
		}),
	}
}

// fromYAML reads YAML as the JSON that says the same.
func fromYAML(text cty.Value) (cty.Value, error) {
	var v any
	if err := yaml.Unmarshal([]byte(text.AsString()), &v); err != nil {
		return cty.DynamicVal, function.NewArgErrorf(0, "not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	b, err := json.Marshal(v)
	if err != nil {
		return cty.DynamicVal, function.NewArgErrorf(0, "YAML that no value stands for: keys are strings, and numbers are finite")
	}
	return stdlib.JSONDecode(cty.StringVal(string(b)))
}

// text is a function from string to string.
func text(description string, f func(string) string) function.Function {
	return function.New(&function.Spec{
		Description: description,
		Params:      []function.Parameter{{Name: "string", Type: cty.String}},
		Type:        function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.StringVal(f(args[0].AsString())), nil
		},
	})
}

// test is a question about two strings.
func test(description string, f func(s, part string) bool) function.Function {
	return function.New(&function.Spec{
		Description: description,
		Params:      []function.Parameter{{Name: "string", Type: cty.String}, {Name: "part", Type: cty.String}},
		Type:        function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(f(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

// quantifier is alltrue or anytrue: decided as soon as an element is the deciding value, whatever is unknown.
func quantifier(description string, deciding bool) function.Function {
	return function.New(&function.Spec{
		Description: description,
		Params:      []function.Parameter{{Name: "list", Type: cty.List(cty.Bool), AllowUnknown: true}},
		Type:        function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if !args[0].IsKnown() {
				return cty.UnknownVal(cty.Bool), nil
			}
			result := cty.BoolVal(!deciding)
			for _, v := range args[0].AsValueSlice() {
				switch {
				case !v.IsKnown():
					result = cty.UnknownVal(cty.Bool)
				case v.IsNull() && !deciding, !v.IsNull() && v.True() == deciding:
					return cty.BoolVal(deciding), nil
				}
			}
			return result, nil
		},
	})
}

var (
	allTrue = quantifier("Whether all elements are true; true for none.", false)
	anyTrue = quantifier("Whether any element is true; false for none.", true)

	base64Decode = function.New(&function.Spec{
		Description: "The string that a Base64 text stands for.",
		Params:      []function.Parameter{{Name: "string", Type: cty.String}},
		Type:        function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			b, err := base64.StdEncoding.DecodeString(args[0].AsString())
			if err != nil || !utf8.Valid(b) {
				return cty.UnknownVal(cty.String), function.NewArgErrorf(0, "not Base64 of a UTF-8 text")
			}
			return cty.StringVal(string(b)), nil
		},
	})

	transpose = function.New(&function.Spec{
		Description: "A map of lists of strings, the other way round.",
		Params:      []function.Parameter{{Name: "map", Type: cty.Map(cty.List(cty.String))}},
		Type:        function.StaticReturnType(cty.Map(cty.List(cty.String))),
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			if !args[0].IsWhollyKnown() {
				return cty.UnknownVal(t), nil
			}
			out := map[string][]cty.Value{}
			for it := args[0].ElementIterator(); it.Next(); {
				key, list := it.Element()
				if list.IsNull() {
					continue
				}
				for _, v := range list.AsValueSlice() {
					if v.IsNull() {
						return cty.UnknownVal(t), function.NewArgErrorf(0, "an element of %s is null", key.AsString())
					}
					out[v.AsString()] = append(out[v.AsString()], key)
				}
			}
			if len(out) == 0 {
				return cty.MapValEmpty(cty.List(cty.String)), nil
			}
			lists := make(map[string]cty.Value, len(out))
			for k, list := range out { // order: a map again
				lists[k] = cty.ListVal(list)
			}
			return cty.MapVal(lists), nil
		},
	})

	yamlDecode = function.New(&function.Spec{
		Description: "The value that a YAML document stands for.",
		Params:      []function.Parameter{{Name: "string", Type: cty.String}},
		Type: func(args []cty.Value) (cty.Type, error) {
			if !args[0].IsKnown() {
				return cty.DynamicPseudoType, nil
			}
			v, err := fromYAML(args[0])
			return v.Type(), err
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return fromYAML(args[0]) },
	})

	indexOf = function.New(&function.Spec{
		Description: "The position, from 0, of the first element of a list that equals a value.",
		Params:      []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}, {Name: "value", Type: cty.DynamicPseudoType}},
		Type: func(args []cty.Value) (cty.Type, error) {
			if t := args[0].Type(); !t.IsListType() && !t.IsTupleType() {
				return cty.NilType, function.NewArgErrorf(0, "a list is needed")
			}
			return cty.Number, nil
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			for i, v := range args[0].AsValueSlice() {
				eq, err := stdlib.Equal(v, args[1])
				if err != nil {
					return cty.UnknownVal(cty.Number), err
				}
				if !eq.IsKnown() {
					return cty.UnknownVal(cty.Number), nil
				}
				if eq.True() {
					return cty.NumberIntVal(int64(i)), nil
				}
			}
			return cty.UnknownVal(cty.Number), errors.New("no element equals the value")
		},
	})

	length = function.New(&function.Spec{
		Description: "The number of elements of a collection, of attributes of an object, or of characters of a string.",
		Params:      []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowUnknown: true, AllowDynamicType: true}},
		Type: func(args []cty.Value) (cty.Type, error) {
			t := args[0].Type()
			if t == cty.String || t == cty.DynamicPseudoType || t.IsCollectionType() || t.IsTupleType() || t.IsObjectType() {
				return cty.Number, nil
			}
			return cty.NilType, function.NewArgErrorf(0, "a string or a collection is needed")
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			switch t := args[0].Type(); {
			case t == cty.DynamicPseudoType:
				return cty.UnknownVal(cty.Number), nil
			case t == cty.String:
				return stdlib.Strlen(args[0])
			case t.IsTupleType():
				return cty.NumberIntVal(int64(t.Length())), nil
			case t.IsObjectType():
				return cty.NumberIntVal(int64(len(t.AttributeTypes()))), nil
			default:
				return args[0].Length(), nil
			}
		},
	})

	one = function.New(&function.Spec{
		Description: "The only element of a list or set, null for none.",
		Params:      []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}},
		Type: func(args []cty.Value) (cty.Type, error) {
			switch t := args[0].Type(); {
			case t.IsListType() || t.IsSetType():
				return t.ElementType(), nil
			case t.IsTupleType() && t.Length() == 1:
				return t.TupleElementType(0), nil
			case t.IsTupleType() && t.Length() == 0:
				return cty.DynamicPseudoType, nil
			}
			return cty.NilType, function.NewArgErrorf(0, "a list or set with at most one element is needed")
		},
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			switch elements := args[0].AsValueSlice(); len(elements) {
			case 0:
				return cty.NullVal(t), nil
			case 1:
				return elements[0], nil
			default:
				return cty.UnknownVal(t), function.NewArgErrorf(0, "there are %d elements, not one", len(elements))
			}
		},
	})

	replace = function.New(&function.Spec{
		Description: "A string with each occurrence of a part replaced. A part between slashes is a regular expression.",
		Params:      []function.Parameter{{Name: "string", Type: cty.String}, {Name: "part", Type: cty.String}, {Name: "by", Type: cty.String}},
		Type:        function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if p := args[1].AsString(); len(p) > 1 && p[0] == '/' && p[len(p)-1] == '/' {
				return stdlib.RegexReplace(args[0], cty.StringVal(p[1:len(p)-1]), args[2])
			}
			return stdlib.Replace(args[0], args[1], args[2])
		},
	})

	sum = function.New(&function.Spec{
		Description: "The sum of a list or set of numbers, 0 for none.",
		Params:      []function.Parameter{{Name: "numbers", Type: cty.DynamicPseudoType}},
		Type:        function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if !args[0].CanIterateElements() {
				return cty.UnknownVal(cty.Number), function.NewArgErrorf(0, "a list or set of numbers is needed")
			}
			total := cty.Zero
			for _, v := range args[0].AsValueSlice() {
				n, err := convert.Convert(v, cty.Number)
				if err != nil || n.IsNull() {
					return cty.UnknownVal(cty.Number), function.NewArgErrorf(0, "a list or set of numbers is needed")
				}
				if total, err = stdlib.Add(total, n); err != nil {
					return cty.UnknownVal(cty.Number), err
				}
			}
			return total, nil
		},
	})
)
