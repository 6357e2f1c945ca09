#include "cli/app.h"

int main(int argc, char** argv) { return imgbuild::cli::run_app(argc, argv); }
