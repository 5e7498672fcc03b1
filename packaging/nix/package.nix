# The program, its manual page, completions and systemd units.
{
  lib,
  stdenv,
  buildGoModule,
  installShellFiles,
  src,
  version,
}:
buildGoModule {
  pname = "bip324-proxy";
  inherit src version;

  # Of the modules that `go mod vendor` writes; .ci/nix prints the new hash after a change of go.mod.
  vendorHash = "sha256-zb2AZJpFBhfSgtza4RbUMv+3EXFI8b04XLvVO+5dnq8=";

  subPackages = [ "." ];
  env.CGO_ENABLED = 0;
  ldflags = [
    "-s"
    "-w"
    "-X bip324proxy/command.version=${version}"
  ];

  nativeBuildInputs = [ installShellFiles ];
  # The program prints its manual and completions; another architecture's cannot run here.
  postInstall = ''
    # Go names it by the module's path.
    [ -e $out/bin/bip324-proxy ] || mv $out/bin/* $out/bin/bip324-proxy
  ''
  + lib.optionalString stdenv.hostPlatform.isLinux ''
    for unit in packaging/systemd/*; do
      install -D -m 644 "$unit" -t $out/lib/systemd/system
    done
    substituteInPlace $out/lib/systemd/system/bip324-proxy.service \
      --replace-fail /usr/bin/bip324-proxy $out/bin/bip324-proxy
  ''
  + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    $out/bin/bip324-proxy man >bip324-proxy.1
    installManPage bip324-proxy.1
    for shell in bash zsh fish; do
      $out/bin/bip324-proxy completion $shell >bip324-proxy.$shell
      installShellCompletion --cmd bip324-proxy --$shell bip324-proxy.$shell
    done
  '';

  # The repository's tests need other programs. This reaches a v2 node through the proxy, on loopback.
  doCheck = false;
  doInstallCheck = stdenv.buildPlatform.canExecute stdenv.hostPlatform;
  installCheckPhase = ''
    runHook preInstallCheck
    $out/bin/bip324-proxy --version
    $out/bin/bip324-proxy demo
    runHook postInstallCheck
  '';
  __darwinAllowLocalNetworking = true;

  meta = {
    description = "Local SOCKS5 proxy that gives any Bitcoin program encrypted (BIP324) connections";
    license = lib.licenses.mit;
    mainProgram = "bip324-proxy";
    platforms = lib.platforms.unix;
  };
}
