# A stand-in for the few functions of nixpkgs' lib that flake.nix and packaging/nix use. With
# NIXPKGS_LIB, the path of a nixpkgs' lib, that one is used (nix --impure).
let
  inherit (builtins) attrNames attrValues concatMap concatStringsSep elemAt isAttrs length listToAttrs map mapAttrs;
  true_ = builtins.getEnv "NIXPKGS_LIB";
  nameValuePair = name: value: { inherit name value; };
  mapAttrsToList = f: set: attrValues (mapAttrs f set);
  tagged = _type: content: { inherit _type content; };
  # What the module system makes of mkIf and mkDefault where nothing else defines the same.
  discharge =
    v:
    if !isAttrs v then v
    else if v._type or "" == "default" then discharge v.content
    else if v ? type then v # a derivation
    else mapAttrs (_: discharge) (listToAttrs (concatMap (name:
      let x = v.${name}; in
      if x._type or "" != "if" then [ (nameValuePair name x) ]
      else if x.condition then [ (nameValuePair name x.content) ]
      else [ ]
    ) (attrNames v)));
  update = a: b: a // mapAttrs (name: v: if isAttrs v && !(v ? type) && isAttrs (a.${name} or null) then update a.${name} v else v) b;
  standIn = rec {
    inherit attrNames mapAttrsToList nameValuePair;
    genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
    filterAttrs = keep: set: listToAttrs (concatMap (name: if keep name set.${name} then [ (nameValuePair name set.${name}) ] else [ ]) (attrNames set));
    mapAttrs' = f: set: listToAttrs (mapAttrsToList f set);
    concatMapStrings = f: list: concatStringsSep "" (map f list);
    optionalString = condition: text: if condition then text else "";
    getExe = package: "${package}/bin/${package.meta.mainProgram}";
    mkOption = option: option;
    mkEnableOption = description: { inherit description; default = false; };
    mkDefault = tagged "default";
    mkIf = condition: content: tagged "if" content // { inherit condition; };
    types = genAttrs [ "listOf" "nullOr" "strMatching" "submodule" ] (_: _: { }) // genAttrs [ "anything" "package" "str" ] (_: { });
    licenses.mit = "MIT";
    platforms.unix = [ ];
  };
  lib = if true_ == "" then standIn else import (/. + true_);
in
{
  inherit lib;

  # The configuration that the flake's module makes of services.bip324-proxy = given. With the
  # true lib, options have their types; those of NixOS are free.
  evaluate =
    pkgs: flakeModule: given:
    if true_ != "" then
      (lib.evalModules {
        specialArgs = { inherit pkgs; };
        modules = [
          flakeModule
          {
            options = lib.genAttrs [ "assertions" "environment" "systemd" "users" ] (_: lib.mkOption { type = lib.types.anything; });
            config.services.bip324-proxy = given;
          }
        ];
      }).config
    else
      let
        outer = flakeModule { inherit lib pkgs; };
        module = import (elemAt outer.imports 0) { inherit lib pkgs; config.services.bip324-proxy = cfg; };
        options = mapAttrs (_: o: o.default or null) module.options.services.bip324-proxy;
        own = outer.services.bip324-proxy // module.config.content.services.bip324-proxy;
        cfg = update (update options (discharge own)) given;
      in
      discharge module.config.content;
}
